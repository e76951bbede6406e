// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/journal_lane.h"

#include "adapters/spool/memory_spool.h"
#include "gateway/uplink/uplink_log.h"
#include "tests/unit/control/journal_fixture.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

// Writes down what is committed, and refuses what it is told to.
class Sink final : public JournalSink {
 public:
  void begin() override { pending_.clear(); }
  Result<void> apply(DeviceStore& store, const JournalRecord& record) override {
    if (auto touched = store.nodes(); !touched) return touched.error();
    if (const auto* result = std::get_if<CommandResultReply>(&record.reply)) {
      if (result->id == refuse) return make_error(Errc::conflict, "no such thing");
      if (result->id == damaged) return make_error(Errc::malformed, "what is there cannot be read");
      pending_.push_back("result " + result->id);
    }
    if (const auto* state = std::get_if<ReportedReply>(&record.reply)) {
      pending_.push_back("state " + state->json + " " + std::to_string(record.seq.value));
    }
    return {};
  }
  Result<void> apply_presence(DeviceStore& store, std::span<const PresenceEvent> events) override {
    if (auto added = store.add_presence(events); !added) return added.error();
    for (const auto& event : events) {
      pending_.push_back(event.device.str() + (event.online ? " online " : " offline ") +
                         std::to_string(event.epoch.value));
    }
    return {};
  }
  void committed() override {
    for (auto& text : pending_) done.push_back(std::move(text));
    pending_.clear();
    count += 1;
  }
  void missed() override { ++gaps; }

  std::string refuse;
  std::string damaged;
  Texts done;
  std::atomic<int> count{0};
  int gaps = 0;

 private:
  Texts pending_;
};

struct JournalLaneTest : testing::Test, JournalFixture {
  JournalLaneTest() { lane.add(sink); }
  void start() {
    lane.start(feed);
    settle();
  }
  Sink sink;
};

TEST_F(JournalLaneTest, TakesWhatIsForTheStoreInOrderAndFiltersTheRest) {
  push(make.presence("pump", 5, true).other().result("pump", 1, "c1").other(RecordKind::event));
  push(make.state("pump", 2, "{}").other(RecordKind::opaque).presence("pump", 5, false));
  const std::uint64_t commits = faults->commits;
  start();
  EXPECT_EQ(sink.done, (Texts{"pump online 5", "result c1", "state {} 2", "pump offline 5"}));
  EXPECT_EQ(faults->commits - commits, 1U);
  EXPECT_EQ(feed.through, LogPosition{7});
  EXPECT_EQ(feed.outcome.forwarded, 4U);
  EXPECT_EQ(feed.outcome.filtered, 3U);
  const LaneStatus status = lane.status();
  EXPECT_EQ(status.name, "store");
  EXPECT_EQ(status.type, "store");
  EXPECT_FALSE(status.required);
  EXPECT_EQ(status.state, LaneState::running);
}

TEST_F(JournalLaneTest, AsksNothingOfTheStoreForWhatIsNotForIt) {
  for (int i = 0; i < 200; ++i) feed.push(make.other().other().take());
  const std::uint64_t calls = faults->calls;
  start();
  EXPECT_EQ(feed.through, LogPosition{400});
  EXPECT_EQ(feed.outcome.filtered, 400U);
  EXPECT_EQ(faults->calls, calls);
}

TEST_F(JournalLaneTest, LooksNoMoreOftenThanItMust) {
  start();
  pass(20ms);
  feed.reads = 0;
  for (int i = 0; i < 50; ++i) push(make.other());
  settle();
  const std::size_t once = feed.reads;
  for (int i = 0; i < 50; ++i) {
    push(make.other());
    settle();
  }
  EXPECT_EQ(feed.reads, once) << "within ten milliseconds";
  pass(10ms);
  EXPECT_EQ(feed.through, LogPosition{100});
}

TEST_F(JournalLaneTest, StartsWithinABlockWhereItLeftOff) {
  feed.push(make.presence("a", 1, true).presence("b", 1, true).presence("c", 1, true).take());
  JournalFeed later = feed.from({3});
  lane.start(later);
  settle();
  EXPECT_EQ(sink.done, (Texts{"c online 1"}));
  EXPECT_EQ(later.outcome.forwarded, 1U);
}

TEST_F(JournalLaneTest, HonoursWhatTheLogSaysOfARecord) {
  push(make.presence("unwanted", 1, true).presence("old", 1, true).presence("pump", 1, true));
  start();
  EXPECT_EQ(sink.done, (Texts{"pump online 1"}));
  EXPECT_EQ(feed.outcome.filtered, 1U);
  EXPECT_EQ(feed.outcome.expired, 1U);
}

TEST_F(JournalLaneTest, PutsAsideWhatCannotBeRead) {
  push(make.garbage(RecordKind::presence).garbage(RecordKind::state).garbage(RecordKind::command_reply));
  push(make.presence("pump", 1, true));
  start();
  EXPECT_EQ(sink.done, (Texts{"pump online 1"}));
  EXPECT_EQ(feed.outcome.dead_lettered, 3U);
  EXPECT_EQ(feed.accounted(), feed.last());
  const auto kept = letters.all();
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(kept[0].lane, "store");
  EXPECT_EQ(kept[0].reason, "malformed");
  EXPECT_EQ(kept[0].payload, "\xff\xff");
  EXPECT_FALSE(lane.status().last_error.empty());
}

TEST_F(JournalLaneTest, PutsAsideTheOneRecordThatTheStoreRefuses) {
  sink.refuse = "bad";
  push(make.result("pump", 1, "good1").result("pump", 2, "bad").result("pump", 3, "good2").other());
  push(make.presence("pump", 1, true));
  start();
  EXPECT_EQ(sink.done, (Texts{"result good1", "result good2", "pump online 1"})) << "each once, in order";
  ASSERT_EQ(letters.all().size(), 1U);
  EXPECT_EQ(letters.all()[0].reason, "refused_by_store");
  EXPECT_EQ(letters.all()[0].detail, "no such thing");
  EXPECT_EQ(feed.outcome.dead_lettered, 1U);
  EXPECT_EQ(feed.accounted(), feed.last());
  // And back to many at a time.
  const std::uint64_t commits = faults->commits;
  push(make.result("pump", 4, "x").result("pump", 5, "y").result("pump", 6, "z"));
  settle_lane();
  EXPECT_EQ(faults->commits - commits, 1U);
}

TEST_F(JournalLaneTest, PausesWhereTheStoreCannotReadItsOwnAndGivesUpNothing) {
  sink.damaged = "bad";
  push(make.result("pump", 1, "good").result("pump", 2, "bad").result("pump", 3, "after"));
  start();
  pass(60s);
  EXPECT_EQ(sink.done, (Texts{"result good"}));
  EXPECT_TRUE(letters.all().empty());
  EXPECT_EQ(lane.status().state, LaneState::backing_off);
  EXPECT_NE(lane.status().last_error.find("cannot be read"), std::string::npos);
  sink.damaged.clear();
  pass(10s);
  EXPECT_EQ(sink.done, (Texts{"result good", "result bad", "result after"}));
  EXPECT_EQ(lane.status().state, LaneState::running);
  EXPECT_EQ(feed.outcome.dead_lettered, 0U);
  EXPECT_EQ(feed.accounted(), feed.last());
}

TEST_F(JournalLaneTest, TriesAgainWhereAnotherNodeWasInTheWay) {
  int times = 5;
  faults->error = Errc::timed_out;
  faults->look = [&](std::string_view call) {
    if (call == "add_presence" && times-- > 0) faults->fail_at = faults->calls - 1;
  };
  push(make.presence("pump", 1, true).result("pump", 1, "c1"));
  start();
  for (int i = 0; i < 20; ++i) pass(100ms);
  EXPECT_LE(times, 0);
  EXPECT_EQ(sink.done, (Texts{"pump online 1", "result c1"}));
  EXPECT_TRUE(letters.all().empty()) << "no record was to blame";
  EXPECT_EQ(feed.accounted(), feed.last());
}

TEST_F(JournalLaneTest, WaitsForNothingIfItWasNeverStarted) {
  const auto begun = std::chrono::steady_clock::now();
  lane.stop(60s);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
  EXPECT_EQ(lane.status().state, LaneState::stopped);
}

TEST_F(JournalLaneTest, WaitsForAStoreThatIsAwayAndLosesNothing) {
  start();
  faults->down = true;
  push(make.presence("pump", 1, true).result("pump", 1, "c1"));
  settle_lane();
  EXPECT_TRUE(sink.done.empty());
  EXPECT_EQ(feed.through, LogPosition{});
  const LaneStatus away = lane.status();
  EXPECT_EQ(away.state, LaneState::backing_off);
  EXPECT_EQ(away.last_error, "no route to the store");
  feed.lose(1);  // what it holds in its hands is not lost with that
  push(make.presence("pump", 1, false));
  pass(5s);
  faults->down = false;
  pass(20s);
  EXPECT_EQ(sink.done, (Texts{"pump online 1", "result c1", "pump offline 1"}));
  EXPECT_EQ(lane.status().state, LaneState::running);
  EXPECT_EQ(sink.gaps, 0);
}

TEST_F(JournalLaneTest, SaysThatItMissedSomething) {
  faults->down = true;
  feed.push(make.presence("a", 1, true).take());
  feed.push(make.presence("b", 1, true).take());
  feed.push(make.presence("c", 1, true).take());
  feed.lose(2);
  faults->down = false;
  start();
  EXPECT_EQ(sink.gaps, 1);
  EXPECT_EQ(sink.done, (Texts{"c online 1"}));
  EXPECT_TRUE(log.has("store_lane_missed records=2"));
}

TEST_F(JournalLaneTest, BeginsNothingWhileItIsHeld) {
  lane.hold(true);
  push(make.presence("pump", 1, true));
  start();
  settle_lane();
  EXPECT_TRUE(sink.done.empty());
  lane.hold(false);
  settle_lane();
  EXPECT_EQ(sink.done.size(), 1U);
}

TEST_F(JournalLaneTest, GoesOnOnceWhatItWaitsForHasBeenFetched) {
  feed.fetching = true;
  push(make.presence("pump", 1, true));
  start();
  EXPECT_TRUE(sink.done.empty());
  feed.fetching = false;
  lane.notify();
  settle_lane();
  EXPECT_EQ(sink.done.size(), 1U);
}

TEST_F(JournalLaneTest, TouchesTheLogNoMoreOnceItHasStopped) {
  start();
  push(make.presence("pump", 1, true));
  pass(20ms);
  faults->down = true;
  push(make.presence("pump", 1, false));
  settle_lane();
  lane.stop(0ms);
  EXPECT_EQ(lane.status().state, LaneState::stopped);
  const LogPosition through = feed.through;
  const std::size_t reads = feed.reads;
  faults->down = false;
  pass(30s);
  lane.notify();
  settle_lane();
  EXPECT_EQ(feed.through, through);
  EXPECT_EQ(feed.reads, reads);
}

// Whatever call fails, and how: each record is in the store or among the dead letters,
// and told to be there once.
TEST_F(JournalLaneTest, LosesNothingWhicheverCallFails) {
  for (const Errc error : {Errc::unavailable, Errc::internal}) {
    for (std::uint64_t n = 0; n < 200; ++n) {
      SCOPED_TRACE(make_error_code(error).message() + " at call " + std::to_string(n));
      JournalFixture f;
      Sink taken;
      f.lane.add(taken);
      f.faults->error = error;
      f.faults->fail_at = f.faults->calls + n;
      f.push(f.make.presence("pump", 1, true).result("pump", 1, "c1").other().state("pump", 2, "{}"));
      f.push(f.make.presence("pump", 1, false));
      f.lane.start(f.feed);
      f.settle();
      const bool failed = !f.faults->fail_at;
      f.faults->fail_at.reset();
      f.pass(20s);
      EXPECT_EQ(taken.done, (Texts{"pump online 1", "result c1", "state {} 2", "pump offline 1"}));
      EXPECT_TRUE(f.letters.all().empty()) << "an error that does not come again blames nobody";
      EXPECT_EQ(f.feed.accounted(), f.feed.last());
      EXPECT_EQ(f.feed.through.value, f.feed.last());
      if (!failed) break;
    }
  }
}

// In a real log, with the store's own thread.
TEST(JournalLaneInTheLog, AccountsForEveryRecord) {
  constexpr int k_blocks = 300;
  SystemClock clock;
  test::SilentLog log;
  test::FakeDeadLetters letters;
  wire::ProtobufWire wire{LimitSettings{}};
  StoreWorker worker(sqlite::make_sqlite_store(":memory:", clock), clock, log);
  ASSERT_TRUE(worker.open());
  Sink sink;
  JournalLane lane(worker, wire.reader(), letters, clock, log);
  lane.add(sink);
  spool::MemorySpool spool(64 << 20);
  uplink::UplinkLog uplink(spool, letters, {{&lane, LaneFilter(), {}}}, {}, clock, log);
  ASSERT_TRUE(uplink.recover());
  worker.start();
  uplink.start();
  std::thread shard([&] {
    BlockMaker make;
    for (int i = 0; i < k_blocks; ++i) {
      EXPECT_TRUE(uplink.submit(make.presence("pump", static_cast<std::uint64_t>(i) + 1, true)
                                    .other()
                                    .garbage(RecordKind::state)
                                    .presence("pump", static_cast<std::uint64_t>(i) + 1, false)
                                    .take()));
    }
  });
  shard.join();
  uplink.stop(60s);
  worker.stop(60s);
  const LaneStatus status = uplink.lanes().at(0);
  EXPECT_EQ(status.state, LaneState::stopped);
  EXPECT_EQ(status.records_in, 4U * k_blocks);
  EXPECT_EQ(status.forwarded_records, 2U * k_blocks);
  EXPECT_EQ(status.filtered_records, 1U * k_blocks);
  EXPECT_EQ(status.dead_lettered_records, 1U * k_blocks);
  EXPECT_EQ(status.pending_records, 0U);
  EXPECT_EQ(status.skipped_records, 0U);
  EXPECT_EQ(sink.done.size(), 2U * k_blocks);
}

}  // namespace
}  // namespace fieldgate::control
