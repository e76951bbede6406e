// SPDX-License-Identifier: Apache-2.0
//
// What a shard makes of devices that an earlier process knew.
#include "gateway/net/shard.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t k_stream = 7;

void ack_at_once(net::SessionConfig& config) {
  config.session.ack_every_frames = 1;
  config.session.ack_every = 0ms;
}

RestoredDevice known(const std::string& id, std::uint64_t logged, bool was_online = false) {
  RestoredDevice device{DeviceId::parse(id).value(), {}, {0}, was_online, 1'600'000'000'000, 1'600'000'001'000};
  StreamMarks& marks = *device.streams.open({k_stream}, {1}, {logged});
  marks.received = marks.logged = marks.spooled = {logged};
  return device;
}

// Presence of each device, in the log's order: +epoch online, -epoch offline.
std::map<std::string, std::vector<std::int64_t>> presence(const ShardBench& bench) {
  std::map<std::string, std::vector<std::int64_t>> told;
  for (const RecordView& record : bench.uplink.records(RecordKind::presence)) {
    const auto epoch = static_cast<std::int64_t>(record.epoch.value);
    told[std::string(record.device)].push_back(record.name == "online" ? epoch : -epoch);
  }
  return told;
}

std::vector<RestoredDevice> fleet(int devices) {
  std::vector<RestoredDevice> lost;
  for (int i = 0; i < devices; ++i) lost.push_back(known("meter-" + std::to_string(i), 1, true));
  return lost;
}

// --- streams

TEST(ShardRestore, ADeviceGoesOnWhereTheEarlierProcessLeftIt) {
  ShardBench bench(2, ack_at_once);
  bench.restore({known("meter-1", 50), known("meter-2", 3), known("meter-3", 9)});
  TestDevice device(bench);
  const v1::Welcome welcome = device.connect("meter-1", k_stream, v1::ACK_STAGE_SPOOLED, 41, 60);
  EXPECT_EQ(welcome.acked_through(), 50U);
  EXPECT_EQ(welcome.received_through(), 50U);
  device.telemetry(51);
  bench.stage_all(AckStage::spooled);
  EXPECT_EQ(device.acked(), 51U);
  EXPECT_EQ(bench.shard().probe().gaps.get(), 0U);
}

TEST(ShardRestore, ADuplicateIsAcknowledgedAndNotLoggedAgain) {
  ShardBench bench(1, ack_at_once);
  bench.restore({known("meter-1", 50)});
  TestDevice device(bench);
  device.connect("meter-1", k_stream, v1::ACK_STAGE_SPOOLED, 49, 50);
  device.telemetry(49);
  device.telemetry(50);
  EXPECT_EQ(device.acked_in_time(50), 50U);
  EXPECT_EQ(bench.shard().probe().duplicates.get(), 2U);
  EXPECT_TRUE(bench.uplink.records().empty());
}

TEST(ShardRestore, AStreamWhoseCounterWentBackIsRefused) {
  ShardBench bench(2);
  bench.restore({known("meter-1", 50)});
  TestDevice device(bench);
  device.upgrade("meter-1");
  device.hello("meter-1", k_stream, v1::ACK_STAGE_SPOOLED, 1, 49);
  const auto frame = device.next();
  ASSERT_TRUE(frame && frame->has_goodbye());
  EXPECT_EQ(frame->goodbye().reason(), v1::GOODBYE_REASON_STREAM_REUSED);
  EXPECT_EQ(bench.ended(EndReason::stream_reused), 1U);
}

// What an earlier process had logged carries no session, and comes by shard 0.
std::shared_ptr<RecordBlock> left_over(const std::string& device, std::uint64_t seq) {
  auto block = std::make_shared<RecordBlock>(0);
  RecordView record;
  record.device = device;
  record.name = "online";
  record.kind = RecordKind::presence;
  block->append(record);
  record.kind = RecordKind::telemetry;
  record.name = {};
  record.stream = {k_stream};
  for (std::uint64_t i = 1; i <= seq; ++i) {
    record.seq = {i};
    block->append(record);
  }
  return block;
}

TEST(ShardRestore, WhatTheEarlierProcessLoggedIsAcknowledgedOnceItIsForwarded) {
  for (const std::string id : {"meter-1", "meter-2", "meter-3"}) {  // homes on both shards
    for (const std::uint32_t shard : {0U, 1U}) {
      ShardBench bench(2, ack_at_once);
      bench.restore({known(id, 3)});
      TestDevice device(bench, shard);
      const v1::Welcome welcome = device.connect(id, k_stream, v1::ACK_STAGE_FORWARDED, 1, 3);
      EXPECT_EQ(welcome.acked_through(), 0U);
      EXPECT_EQ(welcome.received_through(), 3U);
      bench.shard(0).staged(AckStage::forwarded, left_over(id, 3));
      EXPECT_EQ(device.acked_in_time(3), 3U);
    }
  }
}

TEST(ShardRestore, TwoStreamsInOneBlockAreToldApart) {
  ShardBench bench(2, ack_at_once);
  RestoredDevice two = known("meter-1", 3);
  two.streams.open({k_stream + 1}, {1}, {5})->received = {5};
  bench.restore({two});
  TestDevice device(bench);
  device.connect("meter-1", k_stream, v1::ACK_STAGE_FORWARDED, 1, 3);
  const auto block = left_over("meter-1", 3);
  RecordView record = (*block)[1];
  const std::string id(record.device);  // the block may move what it holds as it grows
  record.device = id;
  record.stream = {k_stream + 1};
  record.seq = {5};
  block->append(record);
  bench.shard(0).staged(AckStage::forwarded, block);
  EXPECT_EQ(device.acked_in_time(3), 3U);
  device.close();
  TestDevice again(bench);
  EXPECT_EQ(again.connect("meter-1", k_stream + 1, v1::ACK_STAGE_FORWARDED, 1, 5).acked_through(), 5U);
}

TEST(ShardRestore, WhatIsForwardedBeforeTheDeviceComesBackIsInItsWelcome) {
  ShardBench bench(2);
  bench.restore({known("meter-1", 3), known("meter-2", 3)});
  bench.shard(0).staged(AckStage::forwarded, left_over("meter-1", 2));
  bench.shard(0).staged(AckStage::forwarded, left_over("meter-2", 3));
  bench.shard(0).staged(AckStage::forwarded, left_over("nobody-knows", 3));
  TestDevice one(bench, 0);
  EXPECT_EQ(one.connect("meter-1", k_stream, v1::ACK_STAGE_FORWARDED, 1, 3).acked_through(), 2U);
  TestDevice two(bench, 1);
  EXPECT_EQ(two.connect("meter-2", k_stream, v1::ACK_STAGE_FORWARDED, 1, 3).acked_through(), 3U);
}

// --- presence

TEST(ShardRestore, ADeviceThatWasOnlineIsSaidToBeOfflineInItsOwnEpoch) {
  ShardBench bench(2);
  RestoredDevice lost = known("meter-1", 3, true);
  lost.epoch = {40};
  lost.presence_lanes = 0b101;
  RestoredDevice gone = known("meter-2", 3);
  gone.epoch = {41};
  bench.restore({lost, gone});
  bench.run();

  const auto records = bench.uplink.records(RecordKind::presence);
  ASSERT_EQ(records.size(), 1U) << "of meter-2 all had been said";
  EXPECT_EQ(records[0].device, "meter-1");
  EXPECT_EQ(records[0].name, "offline");
  EXPECT_EQ(records[0].epoch, Epoch{40});
  EXPECT_EQ(records[0].lanes, LaneSet{0b101}) << "whoever was told that it is online";
  EXPECT_EQ(bench.presence.states.size(), 1U);
  const PresenceState& view = bench.presence.states["meter-1"];
  EXPECT_FALSE(view.online);
  EXPECT_EQ(view.epoch, Epoch{40});
  EXPECT_EQ(view.reason, "node_lost");
}

TEST(ShardRestore, TheFleetHearsOfEveryDeviceAndOfNoReasonThatIsNotKnown) {
  ShardBench bench(2);
  RestoredDevice lost = known("meter-1", 3, true);
  lost.epoch = {40};
  RestoredDevice gone = known("meter-2", 3);
  gone.epoch = {41};
  bench.uplink.level_now = UplinkLevel::withheld;  // the list need not wait for the log
  bench.restore({lost, gone});
  bench.run();
  ASSERT_EQ(bench.fleet.changes.size(), 2U);
  std::map<std::string, DeviceSummary> heard;
  for (const DeviceSummary& device : bench.fleet.changes) heard.emplace(device.id.str(), device);
  const DeviceSummary& one = heard.at("meter-1");
  EXPECT_FALSE(one.online);
  EXPECT_EQ(one.epoch, Epoch{40});
  EXPECT_EQ(one.reason, "node_lost");
  EXPECT_EQ(one.since_unix_ms, bench.clock.unix_ms()) << "nobody knows when it ended; it is known since now";
  EXPECT_EQ(one.last_data_unix_ms, lost.last_data_unix_ms);
  const DeviceSummary& two = heard.at("meter-2");
  EXPECT_FALSE(two.online);
  EXPECT_EQ(two.epoch, Epoch{41});
  EXPECT_EQ(two.reason, "");
  EXPECT_EQ(two.since_unix_ms, gone.since_unix_ms);
}

TEST(ShardRestore, SaysThatItWasLostBeforeItIsOnlineAgainHoweverLongTheLogIsFull) {
  ShardBench bench(2);
  RestoredDevice lost = known("meter-1", 3, true);
  lost.epoch = {40};
  bench.admission.epoch = 40;
  bench.uplink.level_now = UplinkLevel::withheld;
  bench.restore({lost});
  bench.pass(5s);
  EXPECT_TRUE(presence(bench).empty());
  bench.shard(0).level_changed(UplinkLevel::withheld);
  TestDevice device(bench);
  const auto epoch =
      static_cast<std::int64_t>(device.connect("meter-1", k_stream, v1::ACK_STAGE_SPOOLED, 1, 3).epoch());
  bench.uplink.level_now = UplinkLevel::normal;
  bench.pass(2s);
  EXPECT_EQ(presence(bench)["meter-1"], (std::vector<std::int64_t>{-40, epoch})) << "and not once more";
  EXPECT_TRUE(bench.presence.states["meter-1"].online);
}

TEST(ShardRestore, AWholeFleetIsSaidToBeOfflineOnceEachWhateverTheLogDoesMeanwhile) {
  constexpr int k_devices = 3'000;
  ShardBench bench(2);
  bench.uplink.full = true;
  bench.restore(fleet(k_devices));
  bench.pass(5s);
  EXPECT_TRUE(presence(bench).empty());
  EXPECT_LT(bench.presence.states.size(), k_devices / 2U) << "no more is begun while the log takes nothing";

  bench.uplink.full = false;
  bench.uplink.level_now = UplinkLevel::withheld;
  bench.pass(5s);
  const std::size_t kept = presence(bench).size();
  EXPECT_LT(kept, k_devices / 2U) << "only what had been begun";

  bench.uplink.level_now = UplinkLevel::reduced;
  bench.pass(1s);
  const std::size_t slow = presence(bench).size();
  EXPECT_GT(slow, kept);
  EXPECT_LT(slow, k_devices / 2U) << "one step of each shard a second";

  bench.uplink.level_now = UplinkLevel::normal;
  bench.pass(1s);
  const auto told = presence(bench);
  EXPECT_EQ(told.size(), static_cast<std::size_t>(k_devices));
  for (const auto& [id, said] : told) EXPECT_EQ(said.size(), 1U) << id;
  EXPECT_EQ(bench.presence.states.size(), static_cast<std::size_t>(k_devices));
}

TEST(ShardRestore, LetsNobodyConnectWhilePresenceCannotBeLoggedAndLosesNone) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.presence_backlog_max = 10; });
  bench.uplink.full = true;
  std::uint64_t refused = 0;
  for (int i = 0; i < 20; ++i) {
    TestDevice device(bench);
    device.upgrade("meter-1");
    device.hello("meter-1");
    if (device.close_code() == info(EndReason::overloaded).close_code) ++refused;
  }
  EXPECT_EQ(refused, 15U) << "five came and went";
  EXPECT_EQ(bench.ended(EndReason::overloaded), 15U);
  bench.uplink.full = false;
  bench.pass(1s);
  EXPECT_EQ(presence(bench)["meter-1"], (std::vector<std::int64_t>{1, -1, 2, -2, 3, -3, 4, -4, 5, -5}));
  EXPECT_EQ(bench.shard().probe().records[static_cast<std::size_t>(RecordKind::presence)].get(), 10U);
  TestDevice device(bench);
  EXPECT_EQ(device.connect("meter-1").epoch(), 6U);
}

}  // namespace
}  // namespace fieldgate::test
