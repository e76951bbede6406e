// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/spool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// What every Spool promises, whatever it is made of: an adapter's test file
// instantiates SpoolContract with a way to make one.
namespace fieldgate::spool {

struct SpoolMaker {
  std::string name;
  std::function<std::unique_ptr<Spool>(std::uint64_t bytes_max)> make;
  friend void PrintTo(const SpoolMaker& maker, std::ostream* out) { *out << maker.name; }
};

inline std::shared_ptr<RecordBlock> make_block(std::size_t records, std::uint64_t first_seq = 1,
                                               std::uint32_t shard = 0) {
  auto block = std::make_shared<RecordBlock>(shard);
  for (std::size_t i = 0; i < records; ++i) {
    RecordView view;
    view.device = "device";
    view.seq = {first_seq + i};
    view.payload = std::as_bytes(std::span("payload", 7));
    block->append(view);
  }
  return block;
}

class SpoolContract : public testing::TestWithParam<SpoolMaker> {
 protected:
  std::unique_ptr<Spool> make(std::uint64_t bytes_max = 1'000'000) const { return GetParam().make(bytes_max); }
};

TEST_P(SpoolContract, BeginsEmptyAtPositionOne) {
  const auto spool = make();
  const SpoolUsage usage = spool->usage();
  EXPECT_EQ(usage.records, 0U);
  EXPECT_EQ(usage.bytes, 0U);
  EXPECT_EQ(usage.bytes_max, 1'000'000U);
  EXPECT_EQ(usage.first, LogPosition{1});
  EXPECT_EQ(usage.next, LogPosition{1});
  EXPECT_EQ(spool->read({1}), nullptr);
}

TEST_P(SpoolContract, NumbersRecordsWithoutHoles) {
  const auto spool = make();
  EXPECT_EQ(spool->append(make_block(3)).value(), LogPosition{1});
  EXPECT_EQ(spool->append(make_block(1)).value(), LogPosition{4});
  EXPECT_EQ(spool->append(make_block(5)).value(), LogPosition{5});
  EXPECT_EQ(spool->usage().records, 9U);
  EXPECT_EQ(spool->usage().next, LogPosition{10});
}

TEST_P(SpoolContract, RefusesABlockWithoutRecords) {
  const auto spool = make();
  EXPECT_EQ(spool->append(make_block(0)).error().code, Errc::invalid_argument);
  EXPECT_EQ(spool->usage().next, LogPosition{1});
}

TEST_P(SpoolContract, ReadsTheBlockThatHoldsAPosition) {
  const auto spool = make();
  for (const std::size_t size : {3U, 1U, 5U}) ASSERT_TRUE(spool->append(make_block(size)));
  for (std::uint64_t position = 1; position <= 9; ++position) {
    const RecordBlockPtr block = spool->read({position});
    ASSERT_NE(block, nullptr);
    EXPECT_LE(block->first_position().value, position);
    EXPECT_GE(block->last_position().value, position);
  }
  EXPECT_EQ(spool->read({10}), nullptr);
}

TEST_P(SpoolContract, GivesUpOnlyWholeBlocks) {
  const auto spool = make();
  for (const std::size_t size : {3U, 3U, 3U}) ASSERT_TRUE(spool->append(make_block(size)));
  spool->trim({5});
  EXPECT_EQ(spool->usage().first, LogPosition{4});
  EXPECT_EQ(spool->usage().records, 6U);
  EXPECT_EQ(spool->read({1})->first_position(), LogPosition{4});  // the first kept after it
  spool->trim({2});                                               // behind: nothing
  EXPECT_EQ(spool->usage().records, 6U);
  spool->trim({9});
  EXPECT_EQ(spool->usage().records, 0U);
  EXPECT_EQ(spool->usage().bytes, 0U);
  EXPECT_EQ(spool->usage().first, LogPosition{10});
  EXPECT_EQ(spool->append(make_block(1)).value(), LogPosition{10});
}

TEST_P(SpoolContract, RefusesWhatDoesNotFitAndTakesItOnceThereIsRoom) {
  const std::uint64_t one = make_block(10)->bytes();
  const auto spool = make(one * 2 + one / 2);
  ASSERT_TRUE(spool->append(make_block(10)));
  ASSERT_TRUE(spool->append(make_block(10)));
  const auto third = make_block(10, 77);
  EXPECT_EQ(spool->append(third).error().code, Errc::full);
  EXPECT_EQ(third->first_position(), LogPosition{});
  EXPECT_EQ(spool->usage().records, 20U);
  EXPECT_LE(spool->usage().bytes, spool->usage().bytes_max);
  spool->trim({10});
  EXPECT_EQ(spool->append(third).value(), LogPosition{21});
  EXPECT_EQ((*spool->read({21}))[0].seq, Seq{77});
}

TEST_P(SpoolContract, KeepsABlockAliveForWhoeverHasReadIt) {
  const auto spool = make();
  ASSERT_TRUE(spool->append(make_block(2, 40)));
  const RecordBlockPtr block = spool->read({1});
  spool->trim({2});
  EXPECT_EQ((*block)[1].seq, Seq{41});
}

TEST_P(SpoolContract, SaysHowFarItIsDurable) {
  const auto spool = make();
  if (!spool->durable()) {
    ASSERT_TRUE(spool->append(make_block(2)));
    EXPECT_EQ(spool->durable_through(), LogPosition{});
  }
}

TEST_P(SpoolContract, AgreesWithAListOfBlocksUnderRandomUse) {
  std::mt19937 random(5);
  const auto spool = make(20'000);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> kept;  // first, last
  std::uint64_t next = 1;
  int refused = 0;
  for (int i = 0; i < 5'000; ++i) {
    if (random() % 2 == 0) {
      const std::size_t size = 1 + random() % 8;
      if (spool->append(make_block(size))) {
        kept.emplace_back(next, next + size - 1);
        next += size;
      } else {
        ++refused;
      }
    } else if (random() % 8 == 0) {
      const std::uint64_t through = next - random() % 30 % next;
      spool->trim({through});
      std::erase_if(kept, [&](const auto& block) { return block.second <= through; });
    }
    const std::uint64_t from = next - random() % 40 % next;
    const auto expected = std::ranges::find_if(kept, [&](const auto& block) { return block.second >= from; });
    const RecordBlockPtr block = spool->read({from});
    ASSERT_EQ(block == nullptr, expected == kept.end());
    if (block) {
      ASSERT_EQ(block->first_position().value, expected->first);
    }
    ASSERT_EQ(spool->usage().first.value, kept.empty() ? next : kept.front().first);
    ASSERT_LE(spool->usage().bytes, 20'000U);
  }
  EXPECT_GT(refused, 0);
}

TEST_P(SpoolContract, KeepsEachThreadsOrder) {
  const auto spool = make(100'000'000);
  const auto write = [&](std::uint32_t shard) {
    for (std::uint64_t seq = 1; seq <= 500; ++seq) ASSERT_TRUE(spool->append(make_block(1, seq, shard)));
  };
  std::thread one(write, 1);
  std::thread two(write, 2);
  std::uint64_t last[3] = {0, 0, 0};
  for (std::uint64_t position = 1; position <= 1'000;) {
    const RecordBlockPtr block = spool->read({position});
    if (!block) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(block->first_position().value, position);
    ASSERT_EQ((*block)[0].seq.value, ++last[block->shard()]);
    spool->trim({position++});
  }
  one.join();
  two.join();
  EXPECT_EQ(spool->usage().records, 0U);
}

}  // namespace fieldgate::spool
