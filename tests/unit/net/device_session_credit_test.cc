// SPDX-License-Identifier: Apache-2.0
//
// What a session makes of a log that is full or fills up.
#include "gateway/net/device_session.h"

#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

void expect_ended(ShardBench& bench, TestDevice& device, EndReason reason) {
  EXPECT_EQ(bench.ended(reason), 1U) << to_string(reason);
  EXPECT_EQ(device.close_code().value_or(0), info(reason).close_code);
}

TEST(DeviceSessionCredit, WhatAFullLogRefusedCountsAsNeverReceived) {
  ShardBench bench;
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    device.telemetry(1);
    bench.uplink.full = true;
    device.telemetry(2);
    expect_ended(bench, device, EndReason::overloaded);
    EXPECT_EQ(bench.shard().probe().records_refused.get(), 1U);
    EXPECT_EQ(bench.shard().probe().records[static_cast<std::size_t>(RecordKind::telemetry)].get(), 1U);
    bench.uplink.full = false;
  }
  TestDevice device(bench);
  EXPECT_EQ(device.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 2).received_through(), 1U);
}

// A block is due in the midst of what one read has brought; by the next one the
// log may have room again.
TEST(DeviceSessionCredit, TakesNothingAfterAFrameThatTheLogRefused) {
  constexpr std::uint64_t k_frames = net::Ingress::k_records_max + 20;
  ShardBench bench(1, [](net::SessionConfig& config) {
    config.session.credit_frames = 1'000;
    config.limits.frames_burst = 1'000;
  });
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    bench.uplink.full = bench.uplink.full_once = true;
    std::string at_once;
    for (std::uint64_t seq = 1; seq <= k_frames; ++seq) {
      at_once += TestDevice::make_ws(0x82, TestDevice::make_telemetry(seq, 1.0).SerializeAsString());
    }
    device.send_raw(at_once);
    expect_ended(bench, device, EndReason::overloaded);
    EXPECT_FALSE(bench.uplink.full);
    EXPECT_EQ(bench.uplink.records().size(), 0U);
  }
  TestDevice device(bench);
  EXPECT_EQ(device.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, k_frames).received_through(), 0U);
}

TEST(DeviceSessionCredit, WhatTheLogRefusesAsTheSessionEndsCountsAsNeverReceived) {
  ShardBench bench;
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    bench.uplink.full = bench.uplink.full_once = true;
    // One read brings both, so the session has ended before its frame is submitted.
    device.send_raw(TestDevice::make_ws(0x82, TestDevice::make_telemetry(1, 1.0).SerializeAsString()) +
                    TestDevice::make_ws(0x88, "\x03\xE8"));
    EXPECT_EQ(bench.ended(EndReason::bye), 1U);
    EXPECT_EQ(bench.shard().probe().records_refused.get(), 1U);
  }
  TestDevice device(bench);
  EXPECT_EQ(device.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 1).received_through(), 0U);
}

// --- credit

TEST(DeviceSessionCredit, ClosesADeviceThatOverrunsItsCredit) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.credit_frames = 3; });
  TestDevice device(bench);
  device.connect("meter-1");
  for (std::uint64_t seq = 1; seq <= 3; ++seq) device.telemetry(seq);
  EXPECT_EQ(bench.ended(EndReason::flow_violation), 0U);
  device.telemetry(4);
  expect_ended(bench, device, EndReason::flow_violation);
  EXPECT_EQ(bench.uplink.records().size(), 3U);
}

TEST(DeviceSessionCredit, CreditInBytesCountsToo) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.credit_bytes = 100; });
  TestDevice device(bench);
  device.connect("meter-1");
  const std::size_t size = TestDevice::make_telemetry(1, 1).SerializeAsString().size();
  for (std::uint64_t seq = 1; seq <= 100 / size; ++seq) device.telemetry(seq);
  EXPECT_EQ(bench.ended(EndReason::flow_violation), 0U);
  device.telemetry(100);
  expect_ended(bench, device, EndReason::flow_violation);
}

TEST(DeviceSessionCredit, WithheldCreditCountsOnceTheDeviceHasSeenIt) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.level(UplinkLevel::withheld);
  const auto frame = device.next();
  ASSERT_TRUE(frame && frame->has_throttle());
  EXPECT_EQ(frame->throttle().credit().frames(), 0U);
  EXPECT_EQ(frame->throttle().reason(), v1::Throttle::REASON_BACKLOG);
  device.telemetry(1);  // was on its way
  EXPECT_EQ(bench.ended(EndReason::flow_violation), 0U);
  device.pong_last();
  device.telemetry(2);
  expect_ended(bench, device, EndReason::flow_violation);
}

TEST(DeviceSessionCredit, CreditComesBack) {
  ShardBench bench;
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  bench.level(UplinkLevel::withheld);
  device.all();
  bench.level(UplinkLevel::normal);
  const auto frame = device.next();
  ASSERT_TRUE(frame && frame->has_throttle());
  EXPECT_EQ(frame->throttle().credit().frames(), SessionSettings().credit_frames);
  device.telemetry(1);
  EXPECT_EQ(bench.uplink.records().size(), 1U);
}

TEST(DeviceSessionCredit, CreditIsTakenFromAllAtOnceAndGivenBackToAFewAtATime) {
  ShardBench bench;
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (int i = 0; i < 3; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->answer_pings(true);
    devices.back()->connect("meter-" + std::to_string(i));
  }
  const auto throttled = [&] { return bench.shard().probe().throttles_out.get(); };
  // Giving goes by a timer of the shard's own.
  const auto wait_for = [&](std::uint64_t throttles) {
    const auto patience = std::chrono::steady_clock::now() + 10s;
    while (throttled() < throttles && std::chrono::steady_clock::now() < patience) bench.run();
  };
  bench.level(UplinkLevel::withheld);
  EXPECT_EQ(throttled(), 3U);
  bench.level(UplinkLevel::normal);
  wait_for(4);
  const std::uint64_t given = throttled() - 3;
  EXPECT_LT(given, 3U);
  // At once less for those, not yet more for the others.
  bench.level(UplinkLevel::reduced);
  EXPECT_EQ(throttled(), 3 + 2 * given);
  wait_for(6 + given);
  EXPECT_EQ(throttled(), 6 + given);
  for (auto& device : devices) {
    const auto frames = device->all();
    ASSERT_FALSE(frames.empty());
    EXPECT_EQ(frames.back().throttle().credit().frames(), SessionSettings().credit_frames / 8);
  }
}

TEST(DeviceSessionCredit, KeepsAnsweringPingsWhileCreditIsWithheld) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.level(UplinkLevel::withheld);
  v1::DeviceFrame frame;
  frame.mutable_time_request()->set_token(5);
  device.all();
  device.send(frame);
  const auto answer = device.next();
  ASSERT_TRUE(answer && answer->has_time());
  EXPECT_EQ(answer->time().token(), 5U);
}

}  // namespace
}  // namespace fieldgate::test
