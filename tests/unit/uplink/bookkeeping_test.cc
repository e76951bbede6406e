// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/lane_cursor.h"
#include "gateway/uplink/log_outline.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <random>
#include <span>
#include <utility>

namespace fieldgate::uplink {
namespace {

using enum LaneCursor::Cause;

TEST(LaneCursor, PassesAGapAtOnceThatNothingIsInHandBefore) {
  LaneCursor cursor(true, {10});
  EXPECT_EQ(cursor.give_up({30}, expired), 20U);
  EXPECT_EQ(cursor.completed(), LogPosition{30});
  EXPECT_EQ(cursor.account().expired, 20U);
  EXPECT_EQ(cursor.pending({35}), 5U);
  EXPECT_EQ(cursor.past_gaps({11}), LogPosition{31});
}

TEST(LaneCursor, KeepsWhatIsInHandBeforeAndAfterAGap) {
  LaneCursor cursor(true, {0});
  cursor.hand({10});
  EXPECT_EQ(cursor.give_up({30}, expired), 20U);
  EXPECT_EQ(cursor.completed(), LogPosition{0});
  EXPECT_EQ(cursor.pending({30}), 10U);
  EXPECT_EQ(cursor.past_gaps({11}), LogPosition{31});
  EXPECT_EQ(cursor.past_gaps({5}), LogPosition{5});
  cursor.hand({40});
  EXPECT_EQ(cursor.give_up({50}, expired), 10U);
  cursor.complete({40}, {.forwarded = 20});  // both blocks with one word
  EXPECT_EQ(cursor.completed(), LogPosition{50});
  EXPECT_EQ(cursor.pending({50}), 0U);
  EXPECT_EQ(cursor.account().expired, 30U);
  EXPECT_EQ(cursor.account().forwarded, 20U);
  EXPECT_EQ(cursor.skipped(), 0U);
}

TEST(LaneCursor, ExtendsAGapWithoutCountingItTwice) {
  LaneCursor cursor(false, {0});
  cursor.hand({10});
  EXPECT_EQ(cursor.give_up({20}, expired), 10U);
  EXPECT_EQ(cursor.give_up({20}, skipped), 0U);
  EXPECT_EQ(cursor.give_up({25}, skipped), 5U);
  EXPECT_EQ(cursor.past_gaps({11}), LogPosition{26});
  cursor.complete({10}, {.filtered = 10});
  EXPECT_EQ(cursor.completed(), LogPosition{25});
  EXPECT_EQ(cursor.account().expired, 10U);
  EXPECT_EQ(cursor.skipped(), 5U);
}

TEST(LaneCursor, CountsAsSkippedWhatALaneDroppedAndDidNotFindAgain) {
  LaneCursor cursor(false, {0});
  cursor.hand({10});
  cursor.release({10});
  EXPECT_EQ(cursor.floor(), LogPosition{10});
  cursor.hand({20});
  cursor.complete({20}, {.forwarded = 10});
  EXPECT_EQ(cursor.skipped(), 10U);
  EXPECT_EQ(cursor.pending({20}), 0U);
}

// Every position since its start is in exactly one place, whatever happens.
TEST(LaneCursor, AccountsForEveryPositionSinceItsStart) {
  constexpr std::uint64_t k_start = 1'000;
  for (unsigned run = 0; run < 200; ++run) {
    std::mt19937 random(run);
    LaneCursor cursor(run % 2 == 0, {k_start});
    std::deque<std::pair<LogPosition, std::uint64_t>> hands;  // a block's end, its records
    LogPosition read{k_start};
    std::uint64_t last = k_start;
    for (int step = 0; step < 500; ++step) {
      last += 10;
      const std::uint64_t what = random() % 4;
      const std::uint64_t next = cursor.past_gaps({read.value + 1}).value;
      if (what < 2 && next + 9 <= last) {
        read = {next + 9};
        cursor.hand(read);
        hands.emplace_back(read, 10);
      } else if (what == 2 && !hands.empty()) {
        cursor.complete(hands.front().first, {.forwarded = 7, .filtered = 1, .dead_lettered = 2});
        hands.pop_front();
      } else if (random() % 8 == 0) {
        const std::uint64_t through = last - random() % 5 * 10;
        cursor.give_up({through}, run % 2 == 1 && random() % 2 == 0 ? skipped : expired);
      }
      const LaneOutcome& account = cursor.account();
      const std::uint64_t ends = account.forwarded + account.filtered + account.dead_lettered + account.expired;
      ASSERT_EQ(ends + cursor.skipped() + cursor.pending({last}), last - k_start) << "run " << run << " step " << step;
    }
  }
}

RecordBlock block(std::uint64_t first, std::size_t records, std::int64_t received) {
  RecordBlock block(0);
  RecordView view;
  view.device = "device";
  view.received_unix_ms = received;
  view.payload = std::as_bytes(std::span("0123456789", 10));
  for (std::size_t i = 0; i < records; ++i) block.append(view);
  block.set_first_position({first});
  return block;
}

TEST(LogOutline, FindsBlockEndsByBytesAndByTime) {
  LogOutline outline(16'384);  // every block is a stretch of its own
  const std::uint64_t one = block(1, 10, 0).bytes();
  for (std::uint64_t i = 0; i < 5; ++i) outline.add(block(1 + 10 * i, 10, 1'000 + static_cast<std::int64_t>(i) * 100));
  EXPECT_EQ(outline.bytes(), 5 * one);
  EXPECT_EQ(outline.through_bytes(1, {50}), LogPosition{10});
  EXPECT_EQ(outline.through_bytes(one + 1, {50}), LogPosition{20});
  EXPECT_EQ(outline.through_bytes(100 * one, {50}), LogPosition{50});
  EXPECT_EQ(outline.through_bytes(100 * one, {39}), LogPosition{30});
  EXPECT_EQ(outline.through_bytes(1, {9}), std::nullopt);
  EXPECT_EQ(outline.through_time(1'000), std::nullopt);
  EXPECT_EQ(outline.through_time(1'101), LogPosition{20});
  EXPECT_EQ(outline.received_unix_ms({1}), 1'000);
  EXPECT_EQ(outline.received_unix_ms({25}), 1'200);
  EXPECT_EQ(outline.received_unix_ms({51}), 0);
  outline.trim({25});
  EXPECT_EQ(outline.bytes(), 3 * one);
  EXPECT_EQ(outline.through_time(1'101), std::nullopt);
}

TEST(LogOutline, HoldsBackWhatFollowsARecordFromTheFuture) {
  LogOutline outline(16'384);
  outline.add(block(1, 10, 5'000));
  outline.add(block(11, 10, 1'000));
  EXPECT_EQ(outline.through_time(2'000), std::nullopt);
  EXPECT_EQ(outline.through_time(5'001), LogPosition{20});
}

TEST(LogOutline, StaysSmallWhateverTheNumberOfBlocks) {
  LogOutline outline(0);
  constexpr std::uint64_t k_blocks = 3 * LogOutline::k_stretches_max;
  for (std::uint64_t i = 1; i <= k_blocks; ++i) outline.add({i}, 100, 5'000 * static_cast<std::int64_t>(i), 0);
  EXPECT_EQ(outline.bytes(), 100 * k_blocks);
  const auto half = outline.through_bytes(50 * k_blocks, {k_blocks});
  ASSERT_TRUE(half);
  EXPECT_GE(half->value, k_blocks / 2);
  EXPECT_LE(half->value, k_blocks / 2 + 8);
}

}  // namespace
}  // namespace fieldgate::uplink
