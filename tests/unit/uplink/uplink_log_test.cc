// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include "tests/unit/uplink/fakes.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace fieldgate::uplink {
namespace {

using enum UplinkLevel;
using Levels = std::vector<UplinkLevel>;
using Seqs = std::vector<std::uint64_t>;

TEST(UplinkLog, TellsAShardOfItsOwnForwardedBlocksInOrder) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  bench.submit(2, 0);
  bench.submit(1, 1);
  bench.submit(1, 0);
  EXPECT_EQ(lane.notified, 4);
  while (lane.take()) {
  }
  EXPECT_EQ(bench.sinks[0].seqs(), Seqs{});
  lane.complete();
  EXPECT_EQ(bench.sinks[0].seqs(), Seqs{1});
  lane.complete(3);
  EXPECT_EQ(bench.sinks[0].seqs(), (Seqs{1, 2, 4}));
  EXPECT_EQ(bench.sinks[1].seqs(), Seqs{3});
}

TEST(UplinkLog, KeepsTheOrderWhenASecondThreadCompletesWhileTheFirstStillTells) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  bench.submit(3);
  while (lane.take()) {
  }
  bench.sinks[0].during = [&] { std::thread([&] { lane.complete(2); }).join(); };
  lane.complete();
  EXPECT_EQ(bench.sinks[0].seqs(), (Seqs{1, 2, 3}));
}

TEST(UplinkLog, HandsTheAckBackWithTheVeryBlockThatCame) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  const auto block = make_block(1, 7);
  ASSERT_TRUE(bench.log.submit(block));
  lane.complete_all();
  ASSERT_EQ(bench.sinks[1].staged().size(), 1U);
  EXPECT_EQ(bench.sinks[1].staged()[0].second.get(), block.get());
}

TEST(UplinkLog, CountsAsForwardedOnlyWhatEveryRequiredLaneHasDone) {
  FakeLane fast("fast", true);
  FakeLane slow("slow", true);
  Bench bench({&fast, &slow});
  bench.submit(3);
  fast.complete_all();
  EXPECT_EQ(bench.sinks[0].seqs(), Seqs{});
  EXPECT_EQ(bench.log.pending(), 30U);
  ASSERT_TRUE(slow.take());
  slow.complete();
  EXPECT_EQ(bench.sinks[0].seqs(), Seqs{1});
  EXPECT_EQ(bench.log.pending(), 20U);
  slow.complete_all();
  EXPECT_EQ(bench.sinks[0].seqs(), (Seqs{1, 2, 3}));
  EXPECT_EQ(bench.log.pending(), 0U);
}

TEST(UplinkLog, DoesNotMakeADeviceWaitForABestEffortLane) {
  FakeLane required("mqtt", true);
  FakeLane extra("webhook", false);
  Bench bench({&required, &extra});
  bench.submit(2);
  required.complete_all();
  EXPECT_EQ(bench.sinks[0].seqs(), (Seqs{1, 2}));
  EXPECT_EQ(bench.log.pending(), 0U);
  // ... but keeps the records for it while there is room.
  EXPECT_EQ(bench.log.usage().records, 20U);
  extra.complete_all();
  EXPECT_EQ(bench.log.usage().records, 0U);
}

TEST(UplinkLog, GivesUpWhatIsDoneEverywhere) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  bench.submit(3);
  while (lane.take()) {
  }
  lane.complete(2);
  EXPECT_EQ(bench.log.usage().first, LogPosition{21});
  lane.complete();
  EXPECT_EQ(bench.log.usage().records, 0U);
}

TEST(UplinkLog, KeepsNothingWhenThereIsNoLane) {
  Bench bench({});
  bench.submit(3);
  EXPECT_EQ(bench.log.usage().records, 0U);
  EXPECT_EQ(bench.log.pending(), 0U);
  EXPECT_EQ(bench.sinks[0].seqs(), Seqs{});
}

TEST(UplinkLog, RefusesWhatDoesNotFitAndIsAsBefore) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane}, 4);
  bench.submit(4);
  const auto refused = bench.log.submit(make_block(0, 99));
  EXPECT_EQ(refused.error().code, Errc::full);
  EXPECT_EQ(bench.log.pending(), 40U);
  EXPECT_EQ(records_in(bench.log.lanes()[0]), 40U);
  lane.complete_all();
  EXPECT_TRUE(bench.log.submit(make_block(0, 99)));
}

TEST(UplinkLog, LowersCreditInStepsAndRaisesItLater) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  bench.submit(50);
  EXPECT_EQ(bench.log.level(), normal);
  bench.submit(1);
  EXPECT_EQ(bench.log.level(), reduced);
  bench.submit(29);
  EXPECT_EQ(bench.log.level(), reduced);
  bench.submit(1);
  EXPECT_EQ(bench.log.level(), withheld);
  while (lane.take()) {
  }
  lane.complete(10);  // 71 left
  EXPECT_EQ(bench.log.level(), withheld);
  lane.complete(1);
  EXPECT_EQ(bench.log.level(), reduced);
  lane.complete(29);  // 41 left
  EXPECT_EQ(bench.log.level(), reduced);
  lane.complete(1);
  EXPECT_EQ(bench.log.level(), normal);
  for (const FakeSink& sink : bench.sinks) EXPECT_EQ(sink.levels(), (Levels{reduced, withheld, reduced, normal}));
}

TEST(UplinkLog, DoesNotFlapAroundAThreshold) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  bench.submit(51);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(lane.take());
    lane.complete();
    bench.submit(1);
  }
  EXPECT_EQ(bench.sinks[0].levels(), Levels{reduced});
}

TEST(UplinkLog, GrantsWhatItCanKeep) {
  FakeLane required("mqtt", true);
  FakeLane extra("webhook", false);
  using enum AckStage;
  const Bench with({&required, &extra});
  EXPECT_EQ(with.log.grant(unspecified), forwarded);
  EXPECT_EQ(with.log.grant(accepted), accepted);
  EXPECT_EQ(with.log.grant(spooled), forwarded);  // stronger, since there is no spool
  EXPECT_EQ(with.log.grant(forwarded), forwarded);
  const Bench without({&extra});
  for (const AckStage wanted : {unspecified, accepted, spooled, forwarded}) {
    EXPECT_EQ(without.log.grant(wanted), accepted);
  }
}

TEST(UplinkLog, ReportsALanesAgeByItsFirstPendingRecord) {
  FakeLane lane("mqtt", true);
  Bench bench({&lane});
  EXPECT_EQ(bench.log.lanes()[0].oldest_pending_ms, 0);
  EXPECT_EQ(bench.log.lanes()[0].pending_records, 0U);
  ASSERT_TRUE(bench.log.submit(make_block(0, 1, 5, bench.clock.ms)));
  bench.clock.ms += 700;
  ASSERT_TRUE(bench.log.submit(make_block(0, 2, 5, bench.clock.ms)));
  bench.clock.ms += 300;
  EXPECT_EQ(bench.log.lanes()[0].oldest_pending_ms, 1'000);
  EXPECT_EQ(bench.log.lanes()[0].pending_records, 10U);
  ASSERT_TRUE(lane.take());
  lane.complete();
  EXPECT_EQ(bench.log.lanes()[0].oldest_pending_ms, 300);
  EXPECT_EQ(bench.log.lanes()[0].pending_records, 5U);
  EXPECT_EQ(bench.log.lanes()[0].name, "mqtt");
}

TEST(UplinkLog, StopsEveryLaneWithinOnePatience) {
  FakeLane a("a", true);
  FakeLane b("b", false);
  Bench bench({&a, &b});
  bench.log.stop(std::chrono::milliseconds(500));
  EXPECT_EQ(a.stopped_with.count(), 500);
  EXPECT_EQ(b.stopped_with.count(), 500);  // the clock stood still
}

}  // namespace
}  // namespace fieldgate::uplink
