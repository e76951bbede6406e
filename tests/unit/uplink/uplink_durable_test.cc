// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include "tests/unit/uplink/durable_bench.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace fieldgate::uplink {
namespace {

using enum AckStage;
using enum UplinkLevel;
using Levels = std::vector<UplinkLevel>;
using Seqs = std::vector<std::uint64_t>;

TEST(DurableLog, TellsOfSpooledBlocksOnceTheyAreDurable) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.commit_all();  // the lanes
  life.submit(3);
  EXPECT_EQ(life.log.unsaved(), 30U);
  EXPECT_EQ(life.sinks[0].seqs(spooled), Seqs{});
  life.spool.commit();
  life.spool.commit();
  EXPECT_EQ(life.sinks[0].seqs(spooled), (Seqs{1, 2}));
  EXPECT_EQ(life.log.unsaved(), 10U);
  lane.complete_all();  // before the third is durable
  EXPECT_EQ(life.sinks[0].seqs(forwarded), (Seqs{1, 2, 3}));
  life.spool.commit_all();
  EXPECT_EQ(life.sinks[0].seqs(spooled), (Seqs{1, 2, 3}));
  EXPECT_EQ(life.log.unsaved(), 0U);
}

std::shared_ptr<RecordBlock> presence_block(std::string_view name, std::int64_t received_unix_ms) {
  auto block = std::make_shared<RecordBlock>(0);
  RecordView view;
  view.kind = RecordKind::presence;
  view.device = "device";
  view.name = name;
  view.epoch = {7};
  view.received_unix_ms = received_unix_ms;
  block->append(view);
  return block;
}

// Killed in between, the next process would not know whom to call offline.
TEST(DurableLog, ShowsPresenceToLanesOnceItIsDurable) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.commit_all();
  life.submit(1);
  ASSERT_TRUE(life.log.submit(presence_block("online", life.clock.ms)));
  life.submit(1);
  EXPECT_TRUE(lane.take());
  EXPECT_FALSE(lane.take());
  const int notified = lane.notified;
  life.spool.commit_all();
  EXPECT_GT(lane.notified, notified);
  EXPECT_TRUE(lane.take());
  EXPECT_TRUE(lane.take());
}

TEST(DurableLog, DoesNotHoldLanesForPresenceWhileTheDiskHangs) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.commit_all();
  ASSERT_TRUE(life.log.submit(presence_block("online", life.clock.ms)));
  EXPECT_FALSE(lane.take());
  const int notified = lane.notified;
  life.pass(2'500);
  EXPECT_GT(lane.notified, notified);
  EXPECT_TRUE(lane.take());
}

TEST(DurableLog, ShowsPresenceAllTheSameWhileTheDiskTakesNothing) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.commit_all();
  ASSERT_TRUE(life.log.submit(presence_block("online", life.clock.ms)));
  EXPECT_FALSE(lane.take());
  life.spool.turn(SpoolState::full);
  EXPECT_TRUE(lane.take());
}

// Killed now, neither the letter nor the record would be there again.
TEST(DurableLog, TellsOfADeadLetterAsForwardedOnceItsRecordIsDurable) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.commit_all();
  life.submit(4);
  while (lane.take()) {
  }
  lane.complete();
  lane.complete(1, {.dead_lettered = 1});
  lane.complete();
  EXPECT_EQ(life.sinks[0].seqs(forwarded), Seqs{1});
  life.spool.commit();
  EXPECT_EQ(life.sinks[0].seqs(forwarded), Seqs{1});
  life.spool.commit();
  EXPECT_EQ(life.sinks[0].seqs(forwarded), (Seqs{1, 2, 3}));
  lane.complete();
  EXPECT_EQ(life.sinks[0].seqs(forwarded), (Seqs{1, 2, 3, 4})) << "what was not refused need not wait";
}

// However many there are, what is durable is told.
TEST(DurableLog, TellsOnWhileDeadLettersKeepComing) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.commit_all();
  life.submit(1);
  for (std::uint64_t i = 1; i <= 10; ++i) {
    life.submit(1);
    while (lane.take()) {
    }
    lane.complete(1, {.dead_lettered = 10});
    EXPECT_EQ(life.sinks[0].seqs(forwarded).size(), i - 1);
    life.spool.commit();
    while (life.sinks[0].seqs(spooled).size() < i && life.spool.commit()) {
    }
    EXPECT_EQ(life.sinks[0].seqs(forwarded).size(), i);
  }
}

TEST(DurableLog, GivesNothingUpAheadOfTheCheckpoint) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.submit(3);
  lane.complete_all();
  life.spool.commit_all();
  EXPECT_EQ(life.log.usage().records, 30U);
  life.pass(29'999);
  EXPECT_EQ(life.spool.checkpoints, 0);
  life.pass(1);
  EXPECT_EQ(life.spool.checkpoints, 1);
  EXPECT_EQ(life.log.usage().records, 30U);  // it is not durable yet
  life.spool.commit_all();
  life.spool.commit_all();
  EXPECT_EQ(disk.checkpoint, LogPosition{30});
  EXPECT_EQ(life.log.usage().records, 0U);
  life.pass(100'000);
  EXPECT_EQ(life.spool.checkpoints, 1);  // nothing new
}

// What is saved is never ahead of the records, so it may have to be saved twice.
TEST(DurableLog, SavesAgainALaneThatWasAheadOfTheDisk) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.commit_all();
  life.clock.ms += 100;
  life.submit(1);
  lane.complete_all();
  life.spool.commit_all();
  life.pass(100);
  life.spool.commit_all();
  EXPECT_EQ(disk.lanes[0].completed, LogPosition{10});
}

TEST(DurableLog, ChecksItsMarksInSoonerWhereMuchIsWritten) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane}, 80);
  life.begin();
  life.submit(10);
  life.spool.commit_all();
  EXPECT_EQ(life.spool.checkpoints, 0);
  life.submit(1);  // more than an eighth
  life.spool.commit_all();
  EXPECT_EQ(life.spool.checkpoints, 1);
}

TEST(DurableLog, GoesOnTellingOnceABlockHasBeenFetched) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.submit(4);
  life.spool.commit_all();
  while (lane.take()) {
  }
  life.spool.forget();
  lane.complete(4);
  EXPECT_EQ(life.sinks[0].seqs(forwarded), Seqs{});
  while (life.spool.fetch()) {
  }
  EXPECT_EQ(life.sinks[0].seqs(forwarded), (Seqs{1, 2, 3, 4}));
}

TEST(DurableLog, WakesTheLanesThatWaitForABlock) {
  Disk disk;
  FakeLane waits("waits", true);
  FakeLane idle("idle", true);
  Life life(disk, {&waits, &idle});
  life.begin();
  life.submit(1);
  life.spool.commit_all();
  idle.complete_all();
  life.spool.forget();
  ASSERT_FALSE(waits.take());
  const int waits_before = waits.notified;
  const int idle_before = idle.notified;
  life.spool.fetch();
  EXPECT_EQ(waits.notified, waits_before + 1);
  EXPECT_EQ(idle.notified, idle_before);
  EXPECT_TRUE(waits.take());
}

TEST(DurableLog, NeitherFetchesNorWaitsForWhatHasExpired) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, 1'000, {{&lane, {}, std::chrono::seconds(60)}});
  life.begin();
  life.submit(1);
  life.clock.ms += 30'000;
  life.submit(1);
  life.spool.commit_all();
  life.spool.forget();
  ASSERT_FALSE(lane.take());
  const int notified = lane.notified;
  life.pass(30'001);
  EXPECT_EQ(lane.notified, notified + 1);
  EXPECT_TRUE(life.events.has("uplink_records_expired 10"));
  life.spool.fetch();
  life.spool.forget();
  ASSERT_FALSE(lane.take());
  life.spool.fetch();
  ASSERT_TRUE(lane.take());
  EXPECT_EQ(lane.in_hand[0]->first_position(), LogPosition{11});
}

TEST(DurableLog, KnowsALanesAgeAlsoWhereTheBlockIsNotAtHand) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.submit(1);
  life.spool.commit_all();
  life.spool.forget();
  life.clock.ms += 700;
  EXPECT_EQ(life.log.lanes()[0].oldest_pending_ms, 700);
}

TEST(DurableLog, WithholdsCreditWhileTheDiskIsFullAndSaysSo) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane});
  life.begin();
  life.spool.turn(SpoolState::full);
  EXPECT_EQ(life.log.level(), withheld);
  EXPECT_TRUE(life.events.has("uplink_spool_full disk: no good"));
  EXPECT_EQ(life.log.grant(unspecified), spooled);  // it recovers by itself
  life.submit(1);
  EXPECT_EQ(life.sinks[0].seqs(spooled), Seqs{});
  life.spool.turn(SpoolState::ok);
  life.spool.commit_all();
  EXPECT_EQ(life.log.level(), normal);
  EXPECT_EQ(life.sinks[0].seqs(spooled), Seqs{1});
  EXPECT_TRUE(life.events.has("uplink_spool_ok"));
  EXPECT_EQ(life.sinks[1].levels(), (Levels{withheld, normal}));
}

TEST(DurableLog, TakesNothingAndPromisesNothingOnceTheSpoolHasFailed) {
  Disk disk;
  FakeLane lane("mqtt", true);
  FakeLane extra("webhook", false);
  Life life(disk, {&lane});
  Life alone(disk, {&extra});
  for (Life* each : {&life, &alone}) {
    each->begin();
    each->submit(1);
    each->spool.turn(SpoolState::failed);
    EXPECT_EQ(each->log.level(), withheld);
    EXPECT_EQ(each->log.submit(make_block(0, 9)).error().code, Errc::unavailable);
    EXPECT_TRUE(each->events.has("uplink_spool_failed disk: no good"));
    EXPECT_EQ(each->sinks[0].seqs(spooled), Seqs{});
  }
  for (const AckStage wanted : {unspecified, spooled, forwarded}) {
    EXPECT_EQ(life.log.grant(wanted), forwarded);
    EXPECT_EQ(alone.log.grant(wanted), accepted);
  }
}

TEST(DurableLog, WithholdsCreditWhileTheDiskFallsBehind) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane}, 400);  // a quarter of it may be unsaved
  life.begin();
  life.submit(51);
  EXPECT_EQ(life.log.level(), reduced);
  life.submit(30);
  EXPECT_EQ(life.log.level(), withheld);
  life.spool.commit_all();
  EXPECT_EQ(life.log.level(), normal);
}

TEST(DurableLog, KeepsTheLastOfItsRoomForPresence) {
  Disk disk;
  FakeLane lane("mqtt", true);
  Life life(disk, {&lane}, 100);
  life.begin();
  life.submit(96);
  EXPECT_EQ(life.log.submit(make_block(0, 97)).error().code, Errc::full);
  auto block = std::make_shared<RecordBlock>(0);
  RecordView offline;
  offline.kind = RecordKind::presence;
  offline.device = "device";
  offline.name = "offline";
  block->append(offline);
  block->seal();
  EXPECT_TRUE(life.log.submit(block));
}

TEST(DurableLog, GivesUpForABestEffortLaneNoMoreThanItMustWhileTheDiskIsStillAtIt) {
  Disk disk;
  FakeLane required("mqtt", true);
  FakeLane extra("webhook", false);
  Life life(disk, {&required, &extra}, 100);
  life.begin();
  for (int i = 0; i < 51; ++i) {
    life.submit(1);
    life.spool.commit_all();
    required.complete_all();
  }
  const std::uint64_t skipped = life.log.lanes()[1].skipped_records;
  EXPECT_EQ(skipped, 110U);  // from 51 blocks down to 40
  EXPECT_TRUE(life.events.has("uplink_records_skipped 110"));
  for (int i = 0; i < 20; ++i) life.log.tick();
  EXPECT_EQ(life.log.lanes()[1].skipped_records, skipped);
  // Now with a checkpoint behind them, so that they may go.
  life.pass(30'000);
  life.spool.commit();
  ASSERT_GE(disk.checkpoint, LogPosition{110});
  life.submit(3);
  EXPECT_EQ(life.log.lanes()[1].skipped_records, skipped);
  life.spool.commit_all();
  life.spool.commit();
  EXPECT_EQ(life.log.usage().records, 430U);
}

// Every party on a thread of its own, and a disk that has nothing at hand for long.
TEST(DurableLog, KeepsEveryPromiseUnderRealThreads) {
  constexpr std::uint64_t k_blocks = 1'500;
  Disk disk;
  FakeLane one("one", true);
  FakeLane two("two", false);
  Life life(disk, {&one, &two}, 100'000);
  life.begin();
  std::atomic<bool> over{false};
  const auto shard = [&](std::uint32_t index) {
    for (std::uint64_t seq = 1; seq <= k_blocks;) {
      if (life.log.submit(make_block(index, seq))) {
        ++seq;
      } else {
        std::this_thread::yield();
      }
    }
  };
  const auto drive = [&](FakeLane& lane, unsigned batch) {
    std::uint64_t done = 0;
    while (done < 2 * k_blocks) {
      while (lane.in_hand.size() < batch && lane.take()) {
      }
      done += lane.in_hand.size();
      if (lane.in_hand.empty()) {
        std::this_thread::yield();
      } else {
        lane.complete(lane.in_hand.size());
      }
    }
  };
  const auto until_over = [&](auto work) {
    while (!over.load()) {
      work();
      std::this_thread::yield();
    }
  };
  std::vector<std::thread> working;
  working.emplace_back(shard, 0);
  working.emplace_back(shard, 1);
  working.emplace_back([&] { drive(one, 1); });
  working.emplace_back([&] { drive(two, 7); });
  std::vector<std::thread> serving;
  serving.emplace_back([&] {
    until_over([&] {
      life.spool.commit();
      life.spool.forget();
    });
  });
  serving.emplace_back([&] { until_over([&] { life.spool.fetch(); }); });
  serving.emplace_back([&] {
    until_over([&] {
      life.log.tick();
      static_cast<void>(life.log.lanes());
      static_cast<void>(life.log.pause("two"));
      static_cast<void>(life.log.resume("two"));
    });
  });
  for (std::thread& thread : working) thread.join();
  const auto told = [&](const FakeSink& sink) {
    return sink.seqs(forwarded).size() == k_blocks && sink.seqs(spooled).size() == k_blocks;
  };
  while (!told(life.sinks[0]) || !told(life.sinks[1])) std::this_thread::yield();
  over = true;
  for (std::thread& thread : serving) thread.join();
  for (const FakeSink& sink : life.sinks) {
    for (const AckStage stage : {spooled, forwarded}) {
      const Seqs seqs = sink.seqs(stage);
      for (std::uint64_t i = 0; i < k_blocks; ++i) ASSERT_EQ(seqs[i], i + 1);
    }
  }
  for (const LaneStatus& status : life.log.lanes()) {
    EXPECT_EQ(status.forwarded_records, 20 * k_blocks);
    EXPECT_EQ(status.pending_records, 0U);
  }
}

}  // namespace
}  // namespace fieldgate::uplink
