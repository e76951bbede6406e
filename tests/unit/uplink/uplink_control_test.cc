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

DeadLetter letter(std::string lane, std::string device, std::int64_t received = 1'000'000) {
  DeadLetter letter;
  letter.lane = std::move(lane);
  letter.device = std::move(device);
  letter.stream = {7};
  letter.seq = {42};
  letter.epoch = {3};
  letter.received_unix_ms = received;
  letter.payload = "payload";
  return letter;
}

TEST(LanePause, HandsTheLaneNothingUntilItIsResumed) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  bench.submit(2);
  ASSERT_TRUE(lane.take());
  ASSERT_TRUE(bench.log.pause("mqtt"));
  ASSERT_TRUE(bench.log.pause("mqtt"));
  EXPECT_TRUE(lane.is_held);
  EXPECT_TRUE(bench.log.lanes()[0].held);
  EXPECT_FALSE(lane.take());
  lane.complete();  // what was on its way
  EXPECT_EQ(bench.log.lanes()[0].pending_records, 10U);
  const int notified = lane.notified;
  ASSERT_TRUE(bench.log.resume("mqtt"));
  EXPECT_FALSE(lane.is_held);
  EXPECT_EQ(lane.notified, notified + 1);
  EXPECT_TRUE(lane.take());
}

TEST(LanePause, NamesALaneThatIsNotThere) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  EXPECT_EQ(bench.log.pause("webhook").error().code, Errc::not_found);
  EXPECT_EQ(bench.log.resume("webhook").error().code, Errc::not_found);
}

TEST(LanePause, OutlivesTheProcess) {
  Disk disk;
  {
    FakeLane lane("mqtt", true);
    Life life(disk, {&lane});
    life.begin();
    ASSERT_TRUE(life.log.pause("mqtt"));
    life.spool.commit_all();
  }
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  EXPECT_TRUE(lane.is_held);
  EXPECT_TRUE(life.log.lanes()[0].held);
  life.submit(1);
  EXPECT_FALSE(lane.take());
  ASSERT_TRUE(life.log.resume("mqtt"));
  EXPECT_TRUE(lane.take());
}

TEST(LaneFilter, KeepsFromALaneWhatIsNotItsOwn) {
  FakeLane events("events", true);
  FakeLane all("all", true);
  LaneFilterSettings settings;
  settings.kinds = {"event"};
  Bench bench(100, {{&events, LaneFilter::make(settings).value(), seconds(0)}, {&all, {}, seconds(0)}});
  auto block = std::make_shared<RecordBlock>(0);
  RecordView record;
  record.device = "device";
  block->append(record);  // telemetry
  record.kind = RecordKind::event;
  block->append(record);
  record.lanes = LaneSet{1} << 1;  // for the second lane alone
  block->append(record);
  ASSERT_TRUE(bench.log.submit(block));
  events.work_all();
  all.work_all();
  EXPECT_EQ(bench.log.lanes()[0].filtered_records, 2U);
  EXPECT_EQ(bench.log.lanes()[0].forwarded_records, 1U);
  EXPECT_EQ(bench.log.lanes()[1].forwarded_records, 3U);
  EXPECT_EQ(bench.log.pending(), 0U);  // filtered counts as done
}

TEST(MaxAge, ExpiresWhatWasNotReadInTimeAlsoForARequiredLane) {
  FakeLane lane("mqtt", true);
  Bench bench(100, {{&lane, {}, seconds(60)}});
  ASSERT_TRUE(bench.log.submit(make_block(0, 1, 10, bench.clock.ms)));
  bench.clock.ms += 1'000;
  ASSERT_TRUE(bench.log.submit(make_block(0, 2, 10, bench.clock.ms)));
  bench.clock.ms += 59'000;
  bench.log.tick();
  EXPECT_EQ(bench.log.lanes()[0].expired_records, 0U);
  bench.clock.ms += 1;
  bench.log.tick();
  EXPECT_EQ(bench.log.lanes()[0].expired_records, 10U);
  EXPECT_EQ(bench.log.lanes()[0].pending_records, 10U);
  EXPECT_EQ(bench.sinks[0].seqs(), std::vector<std::uint64_t>{1});  // done with
  EXPECT_EQ(bench.log.usage().records, 10U);
  ASSERT_TRUE(lane.take());
  EXPECT_EQ(lane.in_hand[0]->first_position(), LogPosition{11});
}

TEST(MaxAge, LetsTheLaneExpireWhatItHasInHand) {
  FakeLane lane("mqtt", true);
  Bench bench(100, {{&lane, {}, seconds(60)}});
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    ASSERT_TRUE(bench.log.submit(make_block(0, seq, 10, bench.clock.ms)));
  }
  ASSERT_TRUE(lane.take());
  bench.clock.ms += 60'001;
  bench.log.tick();
  EXPECT_EQ(bench.log.lanes()[0].expired_records, 20U);
  EXPECT_EQ(bench.log.lanes()[0].pending_records, 10U);
  EXPECT_EQ(bench.sinks[0].seqs().size(), 0U);
  lane.work();
  EXPECT_EQ(bench.log.lanes()[0].expired_records, 30U);
  EXPECT_EQ(bench.sinks[0].seqs().size(), 3U);
  EXPECT_EQ(bench.log.usage().records, 0U);
}

TEST(MaxAge, OfOneLaneCostsAnotherNothing) {
  FakeLane hasty("hasty", true);
  FakeLane patient("patient", true);
  Bench bench(100, {{&hasty, {}, seconds(60)}, {&patient, {}, seconds(0)}});
  ASSERT_TRUE(bench.log.submit(make_block(0, 1, 10, bench.clock.ms)));
  bench.clock.ms += 60'001;
  bench.log.tick();
  EXPECT_EQ(bench.log.lanes()[0].expired_records, 10U);
  EXPECT_FALSE(hasty.take());
  EXPECT_EQ(bench.sinks[0].seqs().size(), 0U);
  patient.work_all();
  EXPECT_EQ(bench.log.lanes()[1].forwarded_records, 10U);
  EXPECT_EQ(bench.sinks[0].seqs().size(), 1U);
}

TEST(DeadLetterReplay, SendsTheRecordAgainToItsLaneAlone) {
  FakeLane one("one", true);
  FakeLane two("two", true);
  Bench bench({&one, &two});
  const std::uint64_t id = bench.letters.add(letter("two", "pump"));
  ASSERT_TRUE(bench.log.replay(id));
  EXPECT_TRUE(bench.letters.all().empty());
  std::vector<std::string> sent;
  two.on_send = [&](const RecordView& record) {
    EXPECT_EQ(record.stream, StreamId{7});
    EXPECT_EQ(record.seq, Seq{42});
    EXPECT_EQ(record.epoch, Epoch{3});
    EXPECT_EQ(record.payload.size(), 7U);
    EXPECT_EQ(record.session.slot, SessionRef::k_no_slot);
    sent.emplace_back(record.device);
  };
  one.work_all();
  two.work_all();
  EXPECT_EQ(sent, std::vector<std::string>{"pump"});
  EXPECT_EQ(bench.log.lanes()[0].filtered_records, 1U);
  EXPECT_EQ(bench.log.lanes()[1].forwarded_records, 1U);
}

TEST(DeadLetterReplay, KeepsTheLetterWhereTheRecordCannotGo) {
  FakeLane lane("mqtt", true);
  Bench bench(2, {{&lane, {}, seconds(60)}});
  const std::uint64_t gone = bench.letters.add(letter("gone", "pump"));
  const std::uint64_t old = bench.letters.add(letter("mqtt", "pump", bench.clock.ms - 60'001));
  const std::uint64_t good = bench.letters.add(letter("mqtt", "pump", bench.clock.ms));
  EXPECT_EQ(bench.log.replay(999).error().code, Errc::not_found);
  EXPECT_EQ(bench.log.replay(gone).error().code, Errc::not_found);
  EXPECT_EQ(bench.log.replay(old).error().code, Errc::invalid_argument);
  bench.submit(2);
  EXPECT_EQ(bench.log.replay(good).error().code, Errc::full);
  EXPECT_EQ(bench.letters.all().size(), 3U);
  lane.complete_all();
  EXPECT_TRUE(bench.log.replay(good));
  EXPECT_EQ(bench.letters.all().size(), 2U);
}

TEST(DeadLetterReplay, GoesPageByPageAndSaysWhereAndWhyItStopped) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  for (int i = 0; i < 5; ++i) bench.letters.add(letter("mqtt", "pump"));  // 1 to 5
  bench.letters.add(letter("gone", "pump"));                              // 6
  bench.letters.add(letter("mqtt", "pump"));                              // 7
  DeadLetterQuery query;
  query.limit = 3;
  LaneControl::Bulk bulk = bench.log.replay_all(query);
  EXPECT_EQ(bulk.done, 3U);
  EXPECT_EQ(bulk.next_after, 3U);
  EXPECT_FALSE(bulk.stopped);
  query.after = bulk.next_after;
  query.limit = 100;
  bulk = bench.log.replay_all(query);
  EXPECT_EQ(bulk.done, 2U);
  ASSERT_TRUE(bulk.stopped);
  EXPECT_EQ(bulk.stopped->code, Errc::not_found);
  EXPECT_EQ(bulk.next_after, 6U);
  query.after = bulk.next_after;
  bulk = bench.log.replay_all(query);
  EXPECT_EQ(bulk.done, 1U);
  EXPECT_EQ(bulk.next_after, 0U);
  EXPECT_EQ(bench.letters.all().size(), 1U);
}

TEST(DeadLetterDiscard, DeletesOneOrAllThatMeetTheQuery) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  const std::uint64_t id = bench.letters.add(letter("mqtt", "pump"));
  for (int i = 0; i < 3; ++i) bench.letters.add(letter("mqtt", "fan"));
  EXPECT_TRUE(bench.log.discard(id));
  EXPECT_EQ(bench.log.discard(id).error().code, Errc::not_found);
  bench.letters.add(letter("mqtt", "pump"));
  DeadLetterQuery query;
  query.device = "fan";
  EXPECT_EQ(bench.log.discard_all(query).done, 3U);
  EXPECT_EQ(bench.letters.all().size(), 1U);
  EXPECT_EQ(bench.log.usage().records, 0U);
}

}  // namespace
}  // namespace fieldgate::uplink
