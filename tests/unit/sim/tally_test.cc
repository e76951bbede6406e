// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/tally.h"

#include <gtest/gtest.h>

namespace fieldgate::sim {
namespace {

constexpr Inspection k_good{1'000, true};

Ledger ledger_of(StreamEntry entry) {
  Ledger ledger;
  ledger.streams.push_back(std::move(entry));
  return ledger;
}

TEST(Tally, FindsWhatWasAcknowledgedAndNeverArrived) {
  Tally tally;
  for (const std::uint64_t seq : {1, 2, 4}) tally.add("d", 7, seq, k_good, 2'000);
  const Verdict verdict = tally.judge(ledger_of({"d", 7, 6, 5, {}}));  // 6 is not acknowledged
  EXPECT_EQ(verdict.lost, 2u);
  ASSERT_EQ(verdict.examples.size(), 1u);
  EXPECT_EQ(verdict.examples[0], "lost: d stream 7 seq 3 and 1 more of 5");
}

TEST(Tally, ADeviceOrStreamThatNeverShowedUpIsLostWhole) {
  Tally tally;
  tally.add("d", 7, 1, k_good, 0);
  EXPECT_EQ(tally.judge(ledger_of({"e", 7, 3, 3, {}})).lost, 3u);
  EXPECT_EQ(tally.judge(ledger_of({"d", 8, 2, 2, {}})).lost, 2u);
}

TEST(Tally, RejectedFramesNeedNotArriveButMay) {
  Tally tally;
  for (const std::uint64_t seq : {1, 3, 4}) tally.add("d", 7, seq, k_good, 0);
  EXPECT_EQ(tally.judge(ledger_of({"d", 7, 4, 4, {2, 3}})).lost, 0u);
  EXPECT_EQ(tally.judge(ledger_of({"d", 7, 5, 4, {2, 5}})).lost, 0u);
  EXPECT_EQ(tally.judge(ledger_of({"d", 7, 4, 4, {3}})).lost, 1u);
}

TEST(Tally, CountsDuplicatesReorderingsAndMismatchesOnceEach) {
  Tally tally;
  tally.add("d", 7, 2, k_good, 0);
  tally.add("d", 7, 1, k_good, 0);
  tally.add("d", 7, 1, k_good, 0);
  tally.add("d", 7, 3, Inspection{0, false}, 0);
  tally.add("d", 7, 4, std::nullopt, 0);
  EXPECT_EQ(tally.records(), 5u);
  EXPECT_EQ(tally.duplicates(), 1u);
  EXPECT_EQ(tally.out_of_order(), 1u);
  EXPECT_EQ(tally.mismatched(), 1u);
  EXPECT_EQ(tally.first_mismatch(), "d stream 7 seq 3");
}

TEST(Tally, MeasuresLatencyOfFirstArrivalsOnly) {
  Tally tally;
  tally.add("d", 7, 1, Inspection{1'000, true}, 1'150);
  tally.add("d", 7, 1, Inspection{1'000, true}, 9'000'000);
  EXPECT_EQ(tally.latency_us().count(), 1u);
  EXPECT_EQ(tally.latency_us().max_us(), 150);
}

TEST(Tally, NoticesSequenceNumbersThatWereNeverGivenOut) {
  Tally tally;
  tally.add("d", 7, 1, k_good, 0);
  tally.add("d", 7, 9, k_good, 0);
  EXPECT_EQ(tally.judge(ledger_of({"d", 7, 3, 1, {}})).extra, 1u);
}

TEST(Tally, LeavesStreamsThatTheLedgerDoesNotNameOutOfTheVerdict) {
  Tally tally;
  tally.add("stranger", 1, 500, std::nullopt, 0);
  tally.add("d", 7, 1, k_good, 0);
  const Verdict verdict = tally.judge(ledger_of({"d", 7, 1, 1, {}}));
  EXPECT_EQ(verdict.lost, 0u);
  EXPECT_EQ(verdict.extra, 0u);
}

}  // namespace
}  // namespace fieldgate::sim
