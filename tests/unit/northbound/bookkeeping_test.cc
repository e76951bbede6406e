// SPDX-License-Identifier: Apache-2.0
#include "adapters/northbound/backoff.h"
#include "adapters/northbound/block_ledger.h"
#include "tests/support/northbound_records.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fieldgate::northbound {
namespace {

using test::block_of;
using test::OwnedRecord;
using test::telemetry;

std::shared_ptr<RecordBlock> numbered_block(std::uint64_t first, std::size_t size) {
  std::vector<OwnedRecord> records;
  for (std::size_t i = 0; i < size; ++i) records.push_back(telemetry("d", first + i));
  auto block = block_of(records);
  block->set_first_position({first});
  return block;
}

TEST(BlockLedger, CompletesBlocksInOrderHoweverTheirRecordsEnd) {
  BlockLedger ledger;
  const auto one = ledger.add(numbered_block(1, 2), 0);
  const auto two = ledger.add(numbered_block(3, 1), 0);
  ledger.done({two, 0}, BlockLedger::Fate::forwarded);
  EXPECT_FALSE(ledger.take_completed()) << "the block before is still open";
  ledger.done({one, 1}, BlockLedger::Fate::filtered);
  EXPECT_FALSE(ledger.take_completed());
  ledger.done({one, 0}, BlockLedger::Fate::dead_lettered);
  const auto completed = ledger.take_completed();
  ASSERT_TRUE(completed);
  EXPECT_EQ(completed->through.value, 3U);
  EXPECT_EQ(completed->outcome.forwarded, 1U);
  EXPECT_EQ(completed->outcome.filtered, 1U);
  EXPECT_EQ(completed->outcome.dead_lettered, 1U);
  EXPECT_EQ(ledger.size(), 0U);
  EXPECT_EQ(ledger.bytes(), 0U);
}

TEST(BlockLedger, LeavesOutWhatWasDoneBeforeIt) {
  BlockLedger ledger;
  const auto block = ledger.add(numbered_block(1, 3), 2);
  EXPECT_EQ(ledger.record({block, 2}).seq.value, 3U);
  ledger.done({block, 2}, BlockLedger::Fate::forwarded);
  EXPECT_EQ(ledger.take_completed()->outcome.forwarded, 1U);
}

TEST(Backoff, GrowsToItsMaximumWithinItsBoundsAndStartsOver) {
  using std::chrono::milliseconds;
  Backoff backoff(milliseconds(100), milliseconds(1'000), 1);
  milliseconds largest{0};
  for (int round = 0; round < 200; ++round) {
    const auto delay = backoff.next();
    EXPECT_GE(delay, milliseconds(100));
    EXPECT_LE(delay, milliseconds(round == 0 ? 200 : 1'000));
    largest = std::max(largest, delay);
  }
  EXPECT_GT(largest, milliseconds(900));
  backoff.reset();
  EXPECT_LE(backoff.next(), milliseconds(200));
}

}  // namespace
}  // namespace fieldgate::northbound
