// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/token_bucket.h"

#include <gtest/gtest.h>

namespace fieldgate {
namespace {

TEST(TokenBucket, AllowsTheBurstThenTheRate) {
  TokenBucket bucket(0, 5);
  int taken = 0;
  while (bucket.take(0, 1, 10, 5)) ++taken;
  EXPECT_EQ(taken, 5);
  EXPECT_FALSE(bucket.take(99, 1, 10, 5));
  EXPECT_TRUE(bucket.take(100, 1, 10, 5));
}

TEST(TokenBucket, TakesNothingWhenThereIsTooLittle) {
  TokenBucket bucket(0, 5);
  EXPECT_FALSE(bucket.take(0, 6, 1, 5));
  EXPECT_TRUE(bucket.take(0, 5, 1, 5));
}

TEST(TokenBucket, NeverHoldsMoreThanTheBurst) {
  TokenBucket bucket(0, 5);
  EXPECT_TRUE(bucket.take(1'000'000, 5, 100, 5));
  EXPECT_FALSE(bucket.take(1'000'000, 1, 100, 5));
}

TEST(TokenBucket, SurvivesTheWrapOfTheClock) {
  TokenBucket bucket(0xFFFFFFFFU, 1);
  EXPECT_TRUE(bucket.take(0xFFFFFFFFU, 1, 10, 1));
  EXPECT_FALSE(bucket.take(50, 1, 10, 1));
  EXPECT_TRUE(bucket.take(110, 1, 10, 1));
}

}  // namespace
}  // namespace fieldgate
