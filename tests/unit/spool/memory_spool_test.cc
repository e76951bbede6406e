// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/memory_spool.h"

#include "tests/unit/spool/spool_support.h"

#include <gtest/gtest.h>

namespace fieldgate::spool {
namespace {

TEST(MemorySpool, DoesNotOutliveTheProcess) {
  const MemorySpool spool(1'000);
  EXPECT_FALSE(spool.durable());
}

TEST(MemorySpool, HandsOutTheVeryBlockThatWasPutIn) {
  MemorySpool spool(1'000'000);
  const auto block = make_block(3);
  ASSERT_TRUE(spool.append(block));
  EXPECT_EQ(spool.read({2}).get(), block.get());
}

}  // namespace
}  // namespace fieldgate::spool
