// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/block_cache.h"

#include "tests/unit/spool/spool_support.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>

namespace fieldgate::spool {
namespace {

// Ten records from `first` on.
RecordBlockPtr block_at(std::uint64_t first) {
  const auto block = make_block(10);
  block->set_first_position({first});
  return block;
}

TEST(BlockCache, FindsTheBlockThatHoldsAPosition) {
  BlockCache cache(1 << 20);
  cache.insert(block_at(1), false);
  cache.insert(block_at(21), false);
  EXPECT_EQ(cache.find({10})->first_position(), LogPosition{1});
  EXPECT_EQ(cache.find({21})->first_position(), LogPosition{21});
  EXPECT_EQ(cache.find({11}), nullptr);  // not here, though a later one is
  EXPECT_EQ(cache.find({31}), nullptr);
}

TEST(BlockCache, DropsWhatWasUsedLongestAgo) {
  BlockCache cache(3 * block_at(1)->bytes());
  for (const std::uint64_t first : {1U, 11U, 21U}) cache.insert(block_at(first), false);
  EXPECT_NE(cache.find({1}), nullptr);
  cache.insert(block_at(31), false);
  EXPECT_NE(cache.find({1}), nullptr);
  EXPECT_EQ(cache.find({11}), nullptr);
  EXPECT_LE(cache.bytes(), 3 * block_at(1)->bytes());
}

TEST(BlockCache, KeepsWhatIsAwaitedUntilItIsTaken) {
  BlockCache cache(0);
  cache.insert(block_at(1), true);
  cache.insert(block_at(11), true);
  cache.insert(block_at(21), false);
  EXPECT_EQ(cache.find({21}), nullptr);
  EXPECT_NE(cache.find({1}), nullptr);
  EXPECT_NE(cache.find({11}), nullptr);
  EXPECT_EQ(cache.find({1}), nullptr);
  EXPECT_EQ(cache.bytes(), 0U);
}

TEST(BlockCache, StaysAwaitedWhereItIsFetchedOnceMore) {
  BlockCache cache(0);
  cache.insert(block_at(1), true);
  cache.insert(block_at(1), false);  // by a read-ahead
  EXPECT_NE(cache.find({1}), nullptr);
}

TEST(BlockCache, KeepsNoMoreAwaitedThanItMay) {
  BlockCache cache(0);
  for (std::uint64_t i = 0; i <= BlockCache::k_awaited_max; ++i) cache.insert(block_at(1 + i * 10), true);
  EXPECT_EQ(cache.bytes(), BlockCache::k_awaited_max * block_at(1)->bytes());
  EXPECT_EQ(cache.find({1}), nullptr);
}

TEST(BlockCache, ForgetsWhatWasGivenUp) {
  BlockCache cache(1 << 20);
  cache.insert(block_at(1), true);
  cache.insert(block_at(11), false);
  cache.drop_through({15});
  EXPECT_EQ(cache.find({1}), nullptr);
  EXPECT_NE(cache.find({11}), nullptr);
}

}  // namespace
}  // namespace fieldgate::spool
