// SPDX-License-Identifier: Apache-2.0
#include "adapters/log/event_limiter.h"

#include <gtest/gtest.h>

#include <chrono>

namespace fieldgate {
namespace {

using std::chrono::milliseconds;

const Monotonic k_start{std::chrono::hours(1)};

std::size_t passed(EventLimiter& limiter, std::string_view event, Monotonic now, int times) {
  std::size_t count = 0;
  for (int i = 0; i < times; ++i) count += limiter.ask(event, now).pass ? 1 : 0;
  return count;
}

TEST(EventLimiter, LetsSoManyPassInASecond) {
  EventLimiter limiter(3);
  EXPECT_EQ(passed(limiter, "a", k_start, 10), 3U);
  EXPECT_EQ(passed(limiter, "a", k_start + milliseconds(999), 10), 0U);
  EXPECT_EQ(passed(limiter, "a", k_start + milliseconds(1'000), 10), 3U);
}

TEST(EventLimiter, KeepsEventsApart) {
  EventLimiter limiter(1);
  EXPECT_EQ(passed(limiter, "a", k_start, 5), 1U);
  EXPECT_EQ(passed(limiter, "b", k_start, 5), 1U);
}

TEST(EventLimiter, TellsOnceWhatItHeldBack) {
  EventLimiter limiter(1);
  passed(limiter, "a", k_start, 5);
  EXPECT_TRUE(limiter.ask("b", k_start + milliseconds(999)).summaries.empty());
  // Whichever event comes next tells.
  const auto verdict = limiter.ask("c", k_start + milliseconds(1'000));
  ASSERT_EQ(verdict.summaries.size(), 1U);
  EXPECT_EQ(verdict.summaries[0].event, "a");
  EXPECT_EQ(verdict.summaries[0].count, 4U);
  EXPECT_TRUE(limiter.ask("c", k_start + milliseconds(3'000)).summaries.empty());
}

TEST(EventLimiter, TellsTheRestAtTheEnd) {
  EventLimiter limiter(1);
  passed(limiter, "a", k_start, 3);
  const auto rest = limiter.rest();
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].count, 2U);
  EXPECT_TRUE(limiter.rest().empty());
}

TEST(EventLimiter, CountsNamesBeyondItsBoundTogether) {
  EventLimiter limiter(1);
  for (std::size_t i = 0; i < EventLimiter::k_events_max; ++i) limiter.ask("e" + std::to_string(i), k_start);
  EXPECT_TRUE(limiter.ask("new1", k_start).pass);
  EXPECT_FALSE(limiter.ask("new2", k_start).pass);
  const auto rest = limiter.rest();
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].event, "other");
}

}  // namespace
}  // namespace fieldgate
