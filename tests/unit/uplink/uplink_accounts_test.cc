// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include "tests/unit/uplink/fakes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace fieldgate::uplink {
namespace {

TEST(UplinkAccount, FilesEachRecordUnderWhatBecameOfIt) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  bench.submit(4);
  ASSERT_TRUE(lane.take());
  ASSERT_TRUE(lane.take());
  ASSERT_TRUE(lane.take());
  lane.complete(2, {.filtered = 5, .dead_lettered = 2, .expired = 1});
  const LaneStatus status = bench.log.lanes()[0];
  EXPECT_EQ(status.forwarded_records, 12U);
  EXPECT_EQ(status.filtered_records, 5U);
  EXPECT_EQ(status.dead_lettered_records, 2U);
  EXPECT_EQ(status.expired_records, 1U);
  EXPECT_EQ(status.skipped_records, 0U);
  EXPECT_EQ(status.pending_records, 20U);
}

TEST(BestEffortLane, LosesItsOldestUnreadRecordsBeforeCreditShrinks) {
  FakeLane required("mqtt", true);
  FakeLane extra("webhook", false);
  Bench bench({&required, &extra});
  for (int i = 0; i < 51; ++i) {
    bench.submit(1);
    required.complete_all();
  }
  EXPECT_EQ(bench.log.level(), UplinkLevel::normal);
  EXPECT_TRUE(bench.sinks[0].levels().empty());
  const LaneStatus status = bench.log.lanes()[1];
  EXPECT_EQ(status.skipped_records, 110U);  // from 51 blocks down to 40
  EXPECT_EQ(status.pending_records, 400U);
  ASSERT_TRUE(extra.take());
  EXPECT_EQ(extra.in_hand[0]->first_position(), LogPosition{111});
  extra.complete();
  EXPECT_EQ(records_in(bench.log.lanes()[1]), 510U);
  EXPECT_EQ(bench.log.lanes()[0].skipped_records, 0U);
}

TEST(BestEffortLane, KeepsWhatItHasInHand) {
  FakeLane required("mqtt", true);
  FakeLane extra("webhook", false);
  Bench bench({&required, &extra});
  bench.submit(3);
  ASSERT_TRUE(extra.take());
  ASSERT_TRUE(extra.take());
  for (int i = 0; i < 100; ++i) {
    bench.submit(1);
    required.complete_all();
  }
  const std::uint64_t skipped = bench.log.lanes()[1].skipped_records;
  EXPECT_GT(skipped, 0U);
  extra.complete(2);  // although the log has given it up meanwhile
  const LaneStatus status = bench.log.lanes()[1];
  EXPECT_EQ(status.forwarded_records, 20U);
  EXPECT_EQ(status.skipped_records, skipped);
  EXPECT_EQ(records_in(status), 1'030U);
  extra.complete_all();
  EXPECT_EQ(bench.log.lanes()[1].pending_records, 0U);
  EXPECT_EQ(bench.log.lanes()[1].skipped_records, skipped);
  EXPECT_EQ(records_in(bench.log.lanes()[1]), 1'030U);
}

TEST(BestEffortLane, NeverCostsTheRequiredLaneARecord) {
  FakeLane required("mqtt", true);
  FakeLane extra("webhook", false);
  Bench bench({&required, &extra});
  bench.submit(100);
  EXPECT_EQ(bench.log.level(), UplinkLevel::withheld);
  EXPECT_EQ(bench.log.lanes()[1].skipped_records, 0U);  // the required lane holds them anyway
  required.complete_all();
  EXPECT_EQ(bench.log.lanes()[0].forwarded_records, 1'000U);
  EXPECT_EQ(bench.sinks[0].seqs().size(), 100U);
}

// With credit withheld nothing is submitted any more: what frees the log must be the
// required lane's progress itself.
TEST(BestEffortLane, DoesNotKeepCreditWithheldOnceTheRequiredLaneHasCaughtUp) {
  FakeLane required("mqtt", true);
  FakeLane extra("webhook", false);
  Bench bench({&required, &extra});
  bench.submit(100);
  EXPECT_EQ(bench.log.level(), UplinkLevel::withheld);
  required.complete_all();
  EXPECT_EQ(bench.log.level(), UplinkLevel::normal);
  EXPECT_EQ(bench.sinks[0].levels().back(), UplinkLevel::normal);
  EXPECT_EQ(bench.log.lanes()[1].pending_records, 400U);
  EXPECT_EQ(records_in(bench.log.lanes()[1]), 1'000U);
}

TEST(BestEffortLane, AloneNeverHoldsADeviceUp) {
  FakeLane extra("webhook", false);
  Bench bench({&extra});
  bench.submit(1'000);
  EXPECT_EQ(bench.log.level(), UplinkLevel::normal);
  EXPECT_TRUE(bench.sinks[0].levels().empty());
  EXPECT_EQ(records_in(bench.log.lanes()[0]), 10'000U);
  EXPECT_LE(bench.log.lanes()[0].pending_records, 500U);
}

// Lanes that read, complete, lose their connection, are paused and lag as they like,
// some with records that expire, under a log that overflows now and then and gets
// dead letters back.
class Turmoil {
 public:
  explicit Turmoil(unsigned run) : run_(run), random_(run), lanes_(lanes_of(run)), bench_(30, specs_of(run)) {}

  void pass(int steps) {
    std::vector<std::uint64_t> skipped_before(lanes_.size(), 0);
    std::vector<std::uint64_t> expired_before(lanes_.size(), 0);
    for (int step = 0; step < steps; ++step) {
      if (random_() % 2 == 0) submit();
      act(*lanes_[random_() % lanes_.size()], step % 1'000 < 500);
      const std::vector<LaneStatus> statuses = bench_.log.lanes();
      for (std::size_t i = 0; i < statuses.size(); ++i) {
        ASSERT_EQ(statuses[i].records_in, in_) << statuses[i].name << " at step " << step << " of run " << run_;
        ASSERT_EQ(records_in(statuses[i]), in_);
        ASSERT_GE(statuses[i].skipped_records, skipped_before[i]);
        ASSERT_GE(statuses[i].expired_records, expired_before[i]);
        skipped_before[i] = statuses[i].skipped_records;
        expired_before[i] = statuses[i].expired_records;
        if (statuses[i].required) {
          ASSERT_EQ(statuses[i].skipped_records, 0U);
        }
      }
    }
  }

  void settle() {
    for (FakeLane* lane : lanes_) {
      ASSERT_TRUE(bench_.log.resume(lane->name()));
      if (!lane->in_hand.empty()) lane->complete(lane->in_hand.size());
      lane->complete_all();
    }
    for (const LaneStatus& status : bench_.log.lanes()) {
      ASSERT_EQ(status.pending_records, 0U) << status.name;
      ASSERT_EQ(records_in(status), in_);
      expired += status.expired_records;
      skipped += status.skipped_records;
    }
    ASSERT_EQ(bench_.log.usage().records, 0U);
    ASSERT_EQ(bench_.log.level(), UplinkLevel::normal);
    for (const FakeSink& sink : bench_.sinks) {
      LogPosition before;
      for (const auto& [stage, block] : sink.staged()) {
        ASSERT_GT(block->first_position(), before);
        before = block->last_position();
      }
      if (!sink.levels().empty()) {
        ASSERT_EQ(sink.levels().back(), UplinkLevel::normal);
      }
    }
  }

  std::uint64_t expired = 0;
  std::uint64_t skipped = 0;
  std::uint64_t replayed = 0;

 private:
  std::vector<FakeLane*> lanes_of(unsigned run) {
    std::vector<FakeLane*> lanes = {&extra_};
    if (run % 3 != 0) lanes.push_back(&one_);
    if (run % 3 == 2) lanes.push_back(&two_);
    return lanes;
  }
  // Every other run, all but the last lane let records expire.
  std::vector<LaneSpec> specs_of(unsigned run) const {
    std::vector<LaneSpec> lanes = specs(std::vector<Lane*>(lanes_.begin(), lanes_.end()));
    for (std::size_t i = 0; run % 2 == 1 && i + 1 < lanes.size(); ++i) lanes[i].max_age = std::chrono::seconds(5);
    return lanes;
  }

  void submit() {
    const std::size_t records = 1 + random_() % 10;
    if (bench_.log.submit(make_block(random_() % 2, ++bench_.seq, records, bench_.clock.ms))) in_ += records;
  }

  void act(FakeLane& lane, bool extra_lags) {
    const bool lags = &lane == &extra_ && extra_lags;
    switch (random_() % 10) {
      case 0:
      case 1:
      case 2: lane.take(); break;
      case 3:
      case 4:
      case 5:
        if (!lane.in_hand.empty() && !lags) complete(lane, 1 + random_() % lane.in_hand.size());
        break;
      case 6:
        if (random_() % 50 == 0) lane.start_over();
        break;
      case 7:
        bench_.clock.ms += static_cast<std::int64_t>(random_() % 400);
        if (random_() % 3 == 0) bench_.log.tick();
        break;
      case 8:
        if (random_() % 20 == 0) static_cast<void>(bench_.log.pause(lane.name()));
        if (random_() % 8 == 0) static_cast<void>(bench_.log.resume(lane.name()));
        break;
      default:
        if (random_() % 5 == 0) replay(lane);
    }
  }

  void complete(FakeLane& lane, std::size_t blocks) {
    if (random_() % 2 == 0) return lane.work(blocks);
    LaneOutcome outcome;
    outcome.filtered = random_() % 2;  // every block has at least one record
    lane.complete(blocks, outcome);
  }

  void replay(const FakeLane& lane) {
    DeadLetter letter;
    letter.lane = lane.name();
    letter.device = "device";
    letter.received_unix_ms = bench_.clock.ms - static_cast<std::int64_t>(random_() % 6'000);
    const std::uint64_t id = bench_.letters.add(letter);
    if (bench_.log.replay(id)) {
      ++in_;
      ++replayed;
    } else {
      ASSERT_TRUE(bench_.log.discard(id));
    }
  }

  const unsigned run_;
  std::mt19937 random_;
  FakeLane one_{"one", true};
  FakeLane two_{"two", true};
  FakeLane extra_{"extra", false};
  std::vector<FakeLane*> lanes_;
  Bench bench_;
  std::uint64_t in_ = 0;
};

TEST(UplinkAccount, ReconcilesExactlyWhateverTheLanesDo) {
  std::uint64_t expired = 0;
  std::uint64_t skipped = 0;
  std::uint64_t replayed = 0;
  for (unsigned run = 0; run < 90 && !testing::Test::HasFailure(); ++run) {
    Turmoil turmoil(run);
    turmoil.pass(3'000);
    turmoil.settle();
    expired += turmoil.expired;
    skipped += turmoil.skipped;
    replayed += turmoil.replayed;
  }
  // It did happen.
  EXPECT_GT(expired, 10'000U);
  EXPECT_GT(skipped, 10'000U);
  EXPECT_GT(replayed, 1'000U);
}

// Two shards and two lanes, each on a thread of its own.
TEST(UplinkLog, KeepsEveryPromiseUnderRealThreads) {
  constexpr std::uint64_t k_blocks = 3'000;
  FakeLane one("one", true);
  FakeLane two("two", true);
  Bench bench({&one, &two}, 50);
  std::atomic<std::uint64_t> submitted{0};
  const auto shard = [&](std::uint32_t index) {
    for (std::uint64_t seq = 1; seq <= k_blocks;) {
      if (bench.log.submit(make_block(index, seq))) {
        ++seq;
        submitted.fetch_add(10);
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
      if (lane.in_hand.empty()) {
        std::this_thread::yield();
        continue;
      }
      done += lane.in_hand.size();
      lane.complete(lane.in_hand.size());
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(shard, 0);
  threads.emplace_back(shard, 1);
  threads.emplace_back([&] { drive(one, 1); });
  threads.emplace_back([&] { drive(two, 7); });
  while (bench.log.pending() > 0 || submitted.load() < 20 * k_blocks) {
    ASSERT_LE(bench.log.usage().bytes, bench.log.usage().bytes_max);
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  for (const FakeSink& sink : bench.sinks) {
    const std::vector<std::uint64_t> seqs = sink.seqs();
    ASSERT_EQ(seqs.size(), k_blocks);
    for (std::uint64_t i = 0; i < k_blocks; ++i) ASSERT_EQ(seqs[i], i + 1);
    if (!sink.levels().empty()) {
      EXPECT_EQ(sink.levels().back(), UplinkLevel::normal);
    }
  }
  for (const LaneStatus& status : bench.log.lanes()) EXPECT_EQ(status.forwarded_records, 20 * k_blocks);
}

}  // namespace
}  // namespace fieldgate::uplink
