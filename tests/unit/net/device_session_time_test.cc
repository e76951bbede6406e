// SPDX-License-Identifier: Apache-2.0
//
// Where the wheel's ticks of a second meet deadlines that do not fit them.
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

TEST(DeviceSessionTime, NobodyIsLostWhoWasNotAsked) {
  // Heard 0.4 s after a tick, at the shortest interval: one tick comes too early to
  // ping, and at the next one and a half intervals are over.
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = config.session.heartbeat_min = 1s; });
  TestDevice device(bench);
  device.answer_pings(true);
  bench.clock.advance(400ms);
  device.connect("meter-1");
  for (int i = 0; i < 20; ++i) {
    bench.clock.advance(600ms);
    bench.shard().tick();
    bench.run();
    bench.clock.advance(400ms);
    device.all();
  }
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), 0U);
  EXPECT_GE(device.pings(), 5U);
  device.answer_pings(false);
  bench.pass(4s);
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), 1U);
}

TEST(DeviceSessionTime, ATickThatTakesAWhileStillServesEveryDeadline) {
  // As with many devices cut off at once: the clock moves on while they are seen to.
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 5s; });
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (int i = 0; i < 20; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->connect("meter-" + std::to_string(i));
  }
  bench.clock.pass_with_each_look(1ms);
  bench.pass(6s);
  for (auto& device : devices) {
    device->all();
    EXPECT_EQ(device->pings(), 1U);
  }
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), 0U);
  bench.pass(3s);
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), devices.size());
}

TEST(DeviceSessionTime, EachDeviceIsSaidToBeSeenOnceInTenSecondsHoweverManyThereAre) {
  ShardBench bench;
  std::vector<std::unique_ptr<TestDevice>> devices;
  std::set<std::string> expected;
  for (std::uint32_t i = 0; i < net::Shard::k_sweep_slots + 44; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->connect("meter-" + std::to_string(i));
    expected.insert("meter-" + std::to_string(i));
  }
  bench.fleet.stamps.clear();
  bench.pass(10s);
  std::set<std::string> seen;
  for (const SeenUpdate& update : bench.fleet.stamps) EXPECT_TRUE(seen.insert(update.id.str()).second);
  EXPECT_EQ(seen, expected);
}

TEST(DeviceSessionTime, AMessageBegunBehindAnotherHasADeadlineOfItsOwn) {
  ShardBench bench(1, [](net::SessionConfig& config) {
    config.limits.message_assembly = 5s;
    config.session.heartbeat = 60s;
  });
  TestDevice device(bench);
  device.connect("meter-1");
  const auto message = [](std::uint64_t seq) {
    return TestDevice::make_ws(0x82, TestDevice::make_telemetry(seq, 1.0).SerializeAsString());
  };
  // What arrives never ends where a message does.
  device.send_raw(message(1).substr(0, 9));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) {
    bench.pass(2s);
    device.send_raw(message(seq).substr(9) + message(seq + 1).substr(0, 9));
  }
  EXPECT_EQ(bench.ended(EndReason::assembly_timeout), 0U);
  EXPECT_EQ(bench.uplink.records().size(), 10U);
  bench.pass(7s);
  EXPECT_EQ(bench.ended(EndReason::assembly_timeout), 1U);
}

TEST(DeviceSessionTime, ConnectionsOfTheAgeAreSentAwayToComeBackButNotAllAtOnce) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.age_max = 100s; });
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (int i = 0; i < 50; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->answer_pings(true);
    devices.back()->connect("meter-" + std::to_string(i));
  }
  const auto pass = [&](std::chrono::seconds time) {
    for (auto left = time; left > 0s; left -= 5s) {
      bench.pass(5s);
      for (auto& device : devices) device->all();
    }
  };
  pass(80s);
  EXPECT_EQ(bench.ended(EndReason::age_max), 0U);
  pass(20s);
  const std::uint64_t half = bench.ended(EndReason::age_max);
  EXPECT_GT(half, 10U);
  EXPECT_LT(half, 40U);
  pass(25s);
  EXPECT_EQ(bench.ended(EndReason::age_max), devices.size());
  EXPECT_EQ(devices[0]->close_code(), 1001);
}

TEST(DeviceSessionTime, WithoutAnAgeToReachTheyStay) {
  ShardBench bench;
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  for (int i = 0; i < 600; ++i) {
    bench.pass(10s);
    device.all();
  }
  EXPECT_EQ(bench.ended(EndReason::age_max), 0U);
  EXPECT_FALSE(device.close_code());
}

TEST(DeviceSessionTime, WhoIsSentAwayForAgeIsToldToComeBackSoon) {
  ShardBench bench(1, [](net::SessionConfig& config) {
    config.session.age_max = 10s;
    config.session.heartbeat = 60s;
  });
  TestDevice device(bench);
  device.connect("meter-1");
  bench.pass(13s);
  const auto frames = device.all();
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames.back().goodbye().reason(), v1::GOODBYE_REASON_DRAIN);
  EXPECT_GT(frames.back().goodbye().reconnect_after_ms(), 0U);
  EXPECT_LE(frames.back().goodbye().reconnect_after_ms(), 5'000U);
}

}  // namespace
}  // namespace fieldgate::test
