// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/timer_wheel.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace fieldgate {
namespace {

struct Owner : TimerNode {
  int fired = 0;
};

std::vector<Owner*> advance(TimerWheel& wheel, std::uint32_t now) {
  std::vector<Owner*> fired;
  wheel.advance(now, [&](TimerNode& node) {
    fired.push_back(&static_cast<Owner&>(node));
    ++fired.back()->fired;
  });
  return fired;
}

TEST(TimerWheel, FiresAtItsTickAndNotBefore) {
  TimerWheel wheel(10);
  Owner owner;
  wheel.file(owner, 13);
  EXPECT_TRUE(advance(wheel, 12).empty());
  EXPECT_EQ(advance(wheel, 13), std::vector<Owner*>{&owner});
  EXPECT_TRUE(advance(wheel, 400).empty()) << "once only";
}

TEST(TimerWheel, FiresWhatIsOverdueAtTheNextTick) {
  TimerWheel wheel(10);
  Owner owner;
  wheel.file(owner, 3);
  EXPECT_EQ(advance(wheel, 11).size(), 1U);
}

TEST(TimerWheel, ADeadlineBeyondTheSpanFiresEarlySoThatItsOwnerFilesAgain) {
  TimerWheel wheel(0);
  Owner owner;
  wheel.file(owner, 1'000);
  EXPECT_TRUE(advance(wheel, TimerWheel::k_span - 2).empty());
  EXPECT_EQ(advance(wheel, TimerWheel::k_span - 1).size(), 1U);
}

TEST(TimerWheel, RefilingMovesIt) {
  TimerWheel wheel(0);
  Owner owner;
  wheel.file(owner, 5);
  wheel.file(owner, 9);
  EXPECT_TRUE(advance(wheel, 8).empty());
  EXPECT_EQ(advance(wheel, 9).size(), 1U);
}

TEST(TimerWheel, AnOwnerMayDieAtAnyTimeEvenWhileOthersFire) {
  TimerWheel wheel(0);
  auto first = std::make_unique<Owner>();
  auto second = std::make_unique<Owner>();
  auto third = std::make_unique<Owner>();
  for (auto* owner : {first.get(), second.get(), third.get()}) wheel.file(*owner, 2);
  second.reset();
  int fired = 0;
  wheel.advance(2, [&](TimerNode& node) {
    ++fired;
    if (&node == first.get()) third.reset();
  });
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheel, WhatFilesItselfAgainWhileFiringWaitsForItsNextTick) {
  TimerWheel wheel(0);
  Owner owner;
  wheel.file(owner, 1);
  int fired = 0;
  wheel.advance(TimerWheel::k_span * 3, [&](TimerNode& node) {
    ++fired;
    wheel.file(node, wheel.now() + TimerWheel::k_span);
  });
  EXPECT_EQ(fired, 4) << "at 1, then each span less one";
}

TEST(TimerWheel, SurvivesTheWrapOfItsTicks) {
  TimerWheel wheel(0xFFFFFFF0U);
  Owner owner;
  wheel.file(owner, 5);
  EXPECT_TRUE(advance(wheel, 4).empty());
  EXPECT_EQ(advance(wheel, 5).size(), 1U);
}

}  // namespace
}  // namespace fieldgate
