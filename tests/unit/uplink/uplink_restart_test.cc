// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include "tests/unit/uplink/durable_bench.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::uplink {
namespace {

using std::chrono::seconds;

TEST(Restart, LetsEachLaneGoOnWhereItWas) {
  Disk disk;
  {
    FakeLane fast("fast", true);
    FakeLane slow("slow", true);
    Life life(disk, {&fast, &slow});
    life.begin();
    life.submit(4);
    life.spool.commit_all();
    fast.complete_all();
    life.pass(100);
    life.spool.commit_all();
  }
  FakeLane fast("fast", true);
  FakeLane slow("slow", true);
  FakeLane fresh("fresh", true);
  Life life(disk, {&fresh, &slow, &fast});
  life.begin();
  EXPECT_EQ(fast.feed().start(), LogPosition{41});
  EXPECT_EQ(slow.feed().start(), LogPosition{1});
  EXPECT_EQ(fresh.feed().start(), LogPosition{41});
  EXPECT_EQ(life.log.lanes()[1].records_in, 40U);
  EXPECT_EQ(life.log.lanes()[2].records_in, 0U);
  ASSERT_FALSE(slow.take());
  life.spool.fetch();
  ASSERT_TRUE(slow.take());
  slow.complete();
  EXPECT_EQ(life.sinks[0].seqs(), std::vector<std::uint64_t>{1});
}

// What came in is known from positions, what became of it from the cursor: the two
// must meet.
TEST(Restart, CountsInWhatALaneFoundWaitingAndWhatCameSince) {
  Disk disk;
  {
    FakeLane lane("mqtt", true);
    Life life(disk, {&lane});
    life.begin();
    life.submit(5);
    life.spool.commit_all();
    ASSERT_TRUE(lane.take());
    lane.complete();
    life.pass(100);
    life.spool.commit_all();
  }
  FakeLane lane("mqtt", true);
  FakeLane fresh("fresh", false);
  Life life(disk, {&lane, &fresh});
  life.begin();
  life.submit(2);
  while (lane.take() || life.spool.fetch()) {
  }
  lane.complete(2, {.filtered = 3, .dead_lettered = 1});
  fresh.complete_all();
  const std::vector<LaneStatus> statuses = life.log.lanes();
  EXPECT_EQ(statuses[0].records_in, 60U);
  EXPECT_EQ(records_in(statuses[0]), 60U);
  EXPECT_EQ(statuses[0].pending_records, 40U);
  EXPECT_EQ(statuses[1].records_in, 20U);
  EXPECT_EQ(records_in(statuses[1]), 20U);
}

TEST(Restart, GivesALaneItsSlotAgainAndANewOneAFreeOne) {
  Disk disk;
  FakeLane a("a", true);
  FakeLane b("b", true);
  FakeLane c("c", true);
  {
    Life life(disk, {&a, &b, &c});
    life.begin();
    life.submit(2);
    life.spool.commit_all();
    a.complete_all();
    life.pass(100);
    life.spool.commit_all();
  }
  FakeLane d("d", true);
  Life life(disk, {&d, &c, &a});
  life.begin();
  life.spool.commit_all();
  ASSERT_EQ(disk.lanes.size(), 3U);
  EXPECT_EQ(disk.lanes[0], (SavedLane{"d", 1, {20}, false}));
  EXPECT_EQ(disk.lanes[1], (SavedLane{"c", 2, {}, false}));
  EXPECT_EQ(disk.lanes[2], (SavedLane{"a", 0, {20}, false}));
  EXPECT_TRUE(life.events.has("lane_forgotten b 20"));
}

TEST(Restart, RefusesLanesItCannotTellApartOrPlace) {
  Disk disk;
  FakeLane one("same", true);
  FakeLane two("same", false);
  Life twice(disk, {&one, &two});
  EXPECT_EQ(twice.log.recover().error().code, Errc::invalid_argument);
  std::vector<std::unique_ptr<FakeLane>> many;
  std::vector<Lane*> lanes;
  for (std::uint32_t i = 0; i <= k_lanes_max; ++i) {
    many.push_back(std::make_unique<FakeLane>("lane-" + std::to_string(i), true));
    lanes.push_back(many.back().get());
  }
  Life life(disk, lanes);
  EXPECT_EQ(life.log.recover().error().code, Errc::invalid_argument);
}

TEST(Restart, StopsAtADamagedBlock) {
  Disk disk;
  FakeLane lane("mqtt", true);
  {
    Life life(disk, {&lane});
    life.begin();
    life.submit(3);
    life.spool.commit_all();
  }
  Life life(disk, {&lane});
  life.spool.damaged = {11};
  EXPECT_EQ(life.log.recover().error().code, Errc::malformed);
}

// A start that fails later on must not cost the lanes their places.
TEST(Restart, LeavesTheDiskAloneUntilItIsStarted) {
  Disk disk;
  FakeLane lane("mqtt", true);
  {
    Life life(disk, {&lane});
    life.begin();
    life.submit(3);
    life.spool.commit_all();
  }
  const std::vector<SavedLane> before = disk.lanes;
  ASSERT_FALSE(before.empty());
  FakeLane other("other", true);
  Life life(disk, {&other});
  ASSERT_TRUE(life.log.recover());
  life.log.stop(std::chrono::milliseconds(0));
  life.spool.commit_all();
  EXPECT_EQ(disk.lanes, before);
}

TEST(Restart, SavesAllThereIsWhenStoppedInOrder) {
  Disk disk;
  FakeLane lane("mqtt", true);
  {
    Life life(disk, {&lane});
    life.begin();
    life.submit(4);
    life.spool.commit_all();
    lane.complete_all();
    life.log.stop(std::chrono::milliseconds(0));
    EXPECT_TRUE(life.spool.closed);
    EXPECT_EQ(disk.checkpoint, LogPosition{40});
    EXPECT_EQ(disk.lanes[0].completed, LogPosition{40});
  }
  Life life(disk, {&lane});
  life.begin();
  EXPECT_EQ(life.log.lanes()[0].pending_records, 0U);
  EXPECT_EQ(life.log.pending(), 0U);
  life.log.tick();
  life.spool.commit_all();
  life.spool.commit();
  EXPECT_EQ(life.log.usage().records, 0U);
  ASSERT_EQ(life.restored.size(), 1U);
}

TEST(Restart, SaysOfADeviceWhatTheLogKnows) {
  Disk disk;
  const auto record = [](RecordKind kind, std::string_view name, std::uint64_t stream, std::uint64_t seq) {
    auto block = std::make_shared<RecordBlock>(1);
    RecordView view;
    view.kind = kind;
    view.device = "pump";
    view.name = name;
    view.stream = {stream};
    view.seq = {seq};
    view.epoch = {stream == 8 ? 6U : 5U};
    view.received_unix_ms = 2'000;
    view.lanes = kind == RecordKind::presence ? 0b11U : 0b01U;
    block->append(view);
    return block;
  };
  {
    FakeLane lane("mqtt", true);
    Life life(disk, {&lane});
    life.begin();
    ASSERT_TRUE(life.log.submit(record(RecordKind::telemetry, "", 7, 3)));
    ASSERT_TRUE(life.log.submit(record(RecordKind::presence, "online", 0, 0)));
    ASSERT_TRUE(lane.take());
    lane.complete();
    ASSERT_TRUE(life.log.submit(record(RecordKind::telemetry, "", 8, 11)));
    life.spool.commit_all();
    life.pass(100);
    life.spool.commit_all();
  }
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  ASSERT_EQ(life.restored.size(), 1U);
  const RestoredDevice& pump = life.restored[0];
  EXPECT_EQ(pump.id.str(), "pump");
  EXPECT_EQ(pump.epoch, Epoch{6});
  EXPECT_TRUE(pump.was_online);
  EXPECT_EQ(pump.presence_lanes, LaneSet{0b11});
  EXPECT_EQ(pump.since_unix_ms, 2'000);
  EXPECT_EQ(pump.last_data_unix_ms, 2'000);
  const StreamMarks current = pump.streams.all()[0];
  EXPECT_EQ(current.id, StreamId{8});
  EXPECT_EQ(current.received, Seq{11});
  EXPECT_EQ(current.logged, Seq{11});
  EXPECT_EQ(current.spooled, Seq{11});
  EXPECT_EQ(current.gap_base, Seq{11});
  EXPECT_EQ(current.forwarded, Seq{0});
  const StreamMarks other = pump.streams.all()[1];
  EXPECT_EQ(other.id, StreamId{7});
  EXPECT_EQ(other.logged, Seq{3});
  EXPECT_EQ(other.forwarded, Seq{3});
  // What the lane does with the rest is told to a shard that is there.
  while (lane.take() || life.spool.fetch()) {
  }
  lane.complete(lane.in_hand.size());
  while (life.spool.fetch()) {
  }
  EXPECT_EQ(life.sinks[0].seqs(), (std::vector<std::uint64_t>{0, 11}));
}

// What an operator left unread for long expires piece by piece after a restart too.
TEST(Restart, StillExpiresWhatIsOlderThanTheCheckpoint) {
  Disk disk;
  {
    FakeLane lane("mqtt", true);
    Life life(disk, {&lane});
    life.begin();
    for (int i = 0; i < 20; ++i) {
      life.submit(1);
      life.clock.ms += 1'000;
      life.spool.commit_all();
    }
    life.pass(30'000);
    life.spool.commit_all();
    ASSERT_EQ(disk.checkpoint, LogPosition{200});
  }
  FakeLane lane("mqtt", true);
  Life life(disk, 1'000, {{&lane, {}, seconds(60)}});
  life.begin();
  life.pass(70'000 + 500);  // the first was received 70.5 s ago, the tenth 61.5 s
  const LaneStatus status = life.log.lanes()[0];
  EXPECT_EQ(status.expired_records + status.pending_records, 200U);
  EXPECT_GE(status.expired_records, 100U);
  EXPECT_LE(status.expired_records, 110U);
}

}  // namespace
}  // namespace fieldgate::uplink
