// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/listener.h"

#include <gtest/gtest.h>

namespace fieldgate::net {
namespace {

TEST(Listener, LetsWaitInTheKernelsQueueWhatTheBudgetTakesInBeforeDevicesGiveUp) {
  EXPECT_EQ(Listener::queue_kept(500, 2, 4'096), 500U * Listener::k_queue_seconds / 2);
  EXPECT_EQ(Listener::queue_kept(500, 1, 4'096), 4'096U - 1'024U);
}

TEST(Listener, ResetsBeforeTheKernelsQueueIsFull) {
  EXPECT_EQ(Listener::queue_kept(100'000, 2, 4'096), 3'072U);
  EXPECT_EQ(Listener::queue_kept(1'000, 2, 128), 96U);
}

TEST(Listener, LetsAFewWaitHoweverSmallTheBudget) { EXPECT_EQ(Listener::queue_kept(1, 64, 4'096), 16U); }

}  // namespace
}  // namespace fieldgate::net
