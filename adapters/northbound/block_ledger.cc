// SPDX-License-Identifier: Apache-2.0
#include "adapters/northbound/block_ledger.h"

#include <cassert>

namespace fieldgate::northbound {

std::uint64_t BlockLedger::add(RecordBlockPtr block, std::uint32_t skipped) {
  assert(skipped <= block->size());
  const std::size_t bytes = block->bytes();
  const std::size_t open = block->size() - skipped;
  entries_.push_back({std::move(block), bytes, open, {}});
  bytes_ += bytes;
  return first_ + entries_.size() - 1;
}

RecordView BlockLedger::record(RecordRef ref) const {
  assert(ref.block >= first_ && ref.block - first_ < entries_.size());
  return (*entries_[ref.block - first_].block)[ref.index];
}

void BlockLedger::done(RecordRef ref, Fate fate) {
  assert(ref.block >= first_ && ref.block - first_ < entries_.size());
  Entry& entry = entries_[ref.block - first_];
  assert(entry.open > 0);
  --entry.open;
  switch (fate) {
    case Fate::forwarded: ++entry.outcome.forwarded; break;
    case Fate::filtered: ++entry.outcome.filtered; break;
    case Fate::dead_lettered: ++entry.outcome.dead_lettered; break;
    case Fate::expired: ++entry.outcome.expired; break;
  }
}

std::optional<BlockLedger::Completion> BlockLedger::take_completed() {
  std::optional<Completion> result;
  while (!entries_.empty() && entries_.front().open == 0) {
    const Entry& front = entries_.front();
    if (!result) result.emplace();
    result->through = front.block->last_position();
    result->outcome.forwarded += front.outcome.forwarded;
    result->outcome.filtered += front.outcome.filtered;
    result->outcome.dead_lettered += front.outcome.dead_lettered;
    result->outcome.expired += front.outcome.expired;
    bytes_ -= front.bytes;
    entries_.pop_front();
    ++first_;
  }
  return result;
}

}  // namespace fieldgate::northbound
