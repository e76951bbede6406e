// SPDX-License-Identifier: Apache-2.0
//
// What a session acknowledges as its records reach the stages of the log, whoever
// is connected by then.
#include "gateway/net/device_session.h"

#include "gateway/core/lane_filter.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

void ack_at_once(net::SessionConfig& config) {
  config.session.ack_every_frames = 1;
  config.session.ack_every = 0ms;
}

// A device whose home is shard `home` of two.
std::string device_at(std::uint32_t home) {
  for (int i = 0;; ++i) {
    const std::string id = "meter-" + std::to_string(i);
    if (home_shard(id, 2) == home) return id;
  }
}

std::uint64_t acks_timed(ShardBench& bench, std::uint32_t shard = 0) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < HistogramCell::k_buckets; ++i) sum += bench.shard(shard).probe().ack_time.bucket(i);
  return sum;
}

v1::DeviceFrame broken_telemetry(std::uint64_t seq) {
  v1::DeviceFrame frame;
  frame.set_seq(seq);
  frame.mutable_telemetry();  // no samples
  return frame;
}

// The two stages that the log reaches in its own time, and where the device's home
// is: with its session, or elsewhere.
struct Case {
  AckStage stage;
  v1::AckStage asked;
  std::uint32_t home;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << to_string(c.stage) << ", home " << c.home; }
};

class DeviceSessionStage : public testing::TestWithParam<Case> {
 protected:
  const Case c = GetParam();
  const AckStage other = c.stage == AckStage::spooled ? AckStage::forwarded : AckStage::spooled;
  const std::string id = device_at(c.home);
  ShardBench bench{2, ack_at_once};
};

TEST_P(DeviceSessionStage, AcknowledgesItsOwnStageAndNoOther) {
  TestDevice device(bench, 0);
  EXPECT_EQ(device.connect(id, 7, c.asked).ack_stage(), c.asked);
  device.telemetry(1);
  device.telemetry(2);
  bench.stage_all(AckStage::accepted);
  bench.stage_all(other);
  EXPECT_EQ(device.acked(), 0U);
  EXPECT_EQ(acks_timed(bench), 0U);
  bench.stage_all(c.stage);
  EXPECT_EQ(device.acked(), 2U);
  EXPECT_EQ(acks_timed(bench), 2U) << "each record once, at the session's stage";
}

TEST_P(DeviceSessionStage, WhatReachedItWhileTheDeviceWasAwayIsInTheNextWelcome) {
  {
    TestDevice device(bench, 0);
    device.connect(id, 7, c.asked);
    device.telemetry(1);
    device.telemetry(2);
  }
  bench.stage_all(c.stage);
  TestDevice device(bench, 1);
  const v1::Welcome welcome = device.connect(id, 7, c.asked, 1, 2);
  EXPECT_EQ(welcome.acked_through(), 2U);
  EXPECT_EQ(welcome.received_through(), 2U);
}

TEST_P(DeviceSessionStage, WhatAnEarlierConnectionSentIsAcknowledgedToTheNextOne) {
  {
    TestDevice device(bench, 0);
    device.connect(id, 7, c.asked);
    device.telemetry(1);
    bench.stage_all(c.stage);
    device.telemetry(2);
    device.telemetry(3);
  }
  TestDevice device(bench, 1);
  const v1::Welcome welcome = device.connect(id, 7, c.asked, 2, 3);
  EXPECT_EQ(welcome.acked_through(), 1U);
  EXPECT_EQ(welcome.received_through(), 3U);
  bench.stage_all(other);
  device.telemetry(2);  // a duplicate asks for an Ack
  EXPECT_EQ(device.acked_in_time(1), 1U) << "another stage is not the one that was granted";
  bench.stage_all(c.stage);
  EXPECT_EQ(device.acked_in_time(3), 3U);
  EXPECT_EQ(bench.uplink.records().size(), 3U);
}

TEST_P(DeviceSessionStage, ATakeoverLeavesNothingUnacknowledged) {
  TestDevice old(bench, 0);
  old.connect(id, 7, c.asked);
  old.telemetry(1);
  old.telemetry(2);
  TestDevice fresh(bench, 1);
  const v1::Welcome welcome = fresh.connect(id, 7, c.asked, 1, 2);
  EXPECT_EQ(welcome.acked_through(), 0U);
  EXPECT_EQ(welcome.received_through(), 2U);
  fresh.telemetry(3);
  bench.stage_all(c.stage);
  EXPECT_EQ(fresh.acked(), 3U);
  fresh.close();
  TestDevice last(bench, 0);
  EXPECT_EQ(last.connect(id, 7, c.asked, 3, 3).acked_through(), 3U);
}

TEST_P(DeviceSessionStage, AStreamThatIsNotTheCurrentOneIsMarkedToo) {
  {
    TestDevice device(bench, 0);
    device.connect(id, 7, c.asked);
    device.telemetry(1);
    device.telemetry(2);
  }
  {
    TestDevice device(bench, 1);
    device.connect(id, 8, c.asked);
    device.telemetry(1);
    for (const auto& block : bench.uplink.blocks) {
      if ((*block)[0].stream == StreamId{7}) bench.shard(block->shard()).staged(c.stage, block);
    }
    device.send(broken_telemetry(2));
    bench.run();
    EXPECT_EQ(device.acked(), 0U) << "2 of stream 7 is not 2 of stream 8";
    std::optional<DeviceDetail> detail;
    bench.shard(c.home).detail(DeviceId::parse(id).value(),
                               [&](std::optional<DeviceDetail> d) { detail = std::move(d); });
    bench.run();
    ASSERT_TRUE(detail && detail->streams.size() == 2);
    EXPECT_EQ(detail->streams[0].forwarded_through, Seq{0});
    EXPECT_EQ(detail->streams[1].forwarded_through, Seq{c.stage == AckStage::forwarded ? 2U : 0U});
    bench.stage_all(c.stage);
    EXPECT_EQ(device.acked(), 2U) << "of its own stream";
  }
  TestDevice device(bench, 0);
  EXPECT_EQ(device.connect(id, 7, c.asked, 1, 2).acked_through(), 2U);
}

TEST_P(DeviceSessionStage, ARejectPrecedesTheAckThatCoversItAlsoAcrossAReconnect) {
  {
    TestDevice device(bench, 0);
    device.connect(id, 7, c.asked);
    device.telemetry(1);
    device.send(broken_telemetry(2));
    device.telemetry(3);
    device.send(broken_telemetry(4));
    const auto frames = device.all();
    ASSERT_EQ(frames.size(), 2U) << "nothing may be acknowledged yet";
    EXPECT_EQ(frames[0].reject().seq(), 2U);
    EXPECT_EQ(frames[1].reject().seq(), 4U);
  }
  TestDevice device(bench, 1);
  const v1::Welcome welcome = device.connect(id, 7, c.asked, 1, 4);
  EXPECT_EQ(welcome.acked_through(), 0U);
  EXPECT_EQ(welcome.received_through(), 4U);
  device.send(broken_telemetry(5));
  bench.stage_all(c.stage);
  std::vector<std::uint64_t> acks;
  bool rejected = false;
  const auto patience = std::chrono::steady_clock::now() + 20s;
  while ((acks.empty() || acks.back() < 5) && std::chrono::steady_clock::now() < patience) {
    for (const auto& frame : device.all()) {
      if (frame.has_reject()) rejected = true;
      if (!frame.has_ack()) continue;
      acks.push_back(frame.ack().through());
      EXPECT_TRUE(rejected || acks.back() < 5);
    }
  }
  ASSERT_FALSE(acks.empty());
  EXPECT_EQ(acks.back(), 5U) << "3 is the last in the log, and what was rejected after it is done with";
  EXPECT_EQ(bench.uplink.records().size(), 2U);
}

TEST_P(DeviceSessionStage, WhatAFailedLogRefusesIsNeverAcknowledged) {
  {
    TestDevice device(bench, 0);
    device.connect(id, 7, c.asked);
    device.telemetry(1);
    device.telemetry(2);
    bench.uplink.full = true;
    bench.uplink.refusal = Errc::unavailable;
    device.telemetry(3);
    EXPECT_EQ(bench.ended(EndReason::overloaded), 1U);
    EXPECT_EQ(bench.shard(0).probe().records_refused.get(), 1U);
    // What the log had taken before still gets there.
    bench.stage_all(c.stage);
    EXPECT_EQ(device.acked(), 0U) << "the session had ended";
    bench.uplink.full = false;
  }
  TestDevice device(bench, 1);
  const v1::Welcome welcome = device.connect(id, 7, c.asked, 1, 3);
  EXPECT_EQ(welcome.acked_through(), 2U);
  EXPECT_EQ(welcome.received_through(), 2U);
  device.telemetry(3);
  EXPECT_EQ(device.acked(), 0U);
  bench.stage_all(c.stage);
  EXPECT_EQ(device.acked(), 3U);
}

// A frame that was rejected and then one that the log refused: neither may be
// covered before the refused one has come again and reached the stage.
TEST_P(DeviceSessionStage, ARefusalBehindARejectTakesNothingBackThatWasRejected) {
  {
    TestDevice device(bench, 0);
    device.connect(id, 7, c.asked);
    device.telemetry(1);
    bench.stage_all(c.stage);
    device.send(broken_telemetry(2));
    bench.uplink.full = bench.uplink.full_once = true;
    device.telemetry(3);
    EXPECT_EQ(bench.ended(EndReason::overloaded), 1U);
  }
  TestDevice device(bench, 1);
  const v1::Welcome welcome = device.connect(id, 7, c.asked, 2, 3);
  EXPECT_LE(welcome.acked_through(), 2U);
  EXPECT_EQ(welcome.received_through(), 2U);
  device.telemetry(3);
  bench.stage_all(c.stage);
  EXPECT_EQ(device.acked(), 3U);
  EXPECT_EQ(bench.uplink.records().size(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Stages, DeviceSessionStage,
                         testing::Values(Case{AckStage::spooled, v1::ACK_STAGE_SPOOLED, 0},
                                         Case{AckStage::spooled, v1::ACK_STAGE_SPOOLED, 1},
                                         Case{AckStage::forwarded, v1::ACK_STAGE_FORWARDED, 0},
                                         Case{AckStage::forwarded, v1::ACK_STAGE_FORWARDED, 1}),
                         [](const auto& test) {
                           return std::string(to_string(test.param.stage)) + "_home_" + std::to_string(test.param.home);
                         });

TEST(DeviceSessionStages, ADeviceThatChangesItsStageIsToldWhatThatOneHasReached) {
  ShardBench bench(1, ack_at_once);
  {
    TestDevice device(bench);
    device.connect("meter-1", 7, v1::ACK_STAGE_ACCEPTED);
    for (std::uint64_t seq = 1; seq <= 3; ++seq) device.telemetry(seq);
    EXPECT_EQ(device.acked(), 3U);
    bench.stage_all(AckStage::spooled);
    device.telemetry(4);
  }
  {
    TestDevice device(bench);
    const v1::Welcome welcome = device.connect("meter-1", 7, v1::ACK_STAGE_SPOOLED, 1, 4);
    EXPECT_EQ(welcome.acked_through(), 3U);
    EXPECT_EQ(welcome.received_through(), 4U);
  }
  TestDevice device(bench);
  EXPECT_EQ(device.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 4).acked_through(), 0U);
  bench.stage_all(AckStage::forwarded);
  EXPECT_EQ(device.acked_in_time(4), 4U);
}

// --- lanes

TEST(DeviceSessionStages, AcknowledgesEachOfManyThatAreDueTogetherAndWhatIsStagedMeanwhile) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.ack_every = 0ms; });
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (int i = 0; i < 50; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->connect("meter-" + std::to_string(i));
  }
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    for (const auto& device : devices) device->telemetry(seq);
    bench.stage_all(AckStage::forwarded);
    for (const auto& device : devices) EXPECT_EQ(device->acked_in_time(seq), seq);
  }
}

TEST(DeviceSessionStages, MarksEachRecordWithTheLanesThatWantTheDevice) {
  const auto lane = [](std::vector<std::string> devices, std::vector<std::string> labels) {
    return LaneFilter::make({{}, std::move(devices), std::move(labels)}).value();
  };
  // The test's devices all say site=north.
  const auto filters = std::make_shared<const LaneFilters>(std::vector<std::pair<std::uint32_t, LaneFilter>>{
      {0, lane({"meter-*"}, {})}, {1, lane({"pump-*"}, {})}, {2, lane({}, {"site=north"})}, {4, lane({}, {"!site"})}});
  ShardBench bench(2, {}, filters);
  const LaneSet meters = k_every_lane & ~LaneSet{0b10010};
  const LaneSet pumps = k_every_lane & ~LaneSet{0b10001};
  for (std::uint32_t shard : {0U, 1U}) {
    TestDevice meter(bench, shard);
    meter.connect("meter-1", shard + 1);
    meter.telemetry(1);
    TestDevice pump(bench, shard);
    pump.connect("pump-1", shard + 1);
    pump.telemetry(1);
  }
  std::size_t seen = 0;
  for (const RecordKind kind : {RecordKind::telemetry, RecordKind::presence}) {
    for (const RecordView& record : bench.uplink.records(kind)) {
      EXPECT_EQ(record.lanes, record.device == "meter-1" ? meters : pumps) << record.device << " " << record.name;
      ++seen;
    }
  }
  EXPECT_EQ(seen, 4U + 8U) << "a frame, online and offline, twice of each device";
}

}  // namespace
}  // namespace fieldgate::test
