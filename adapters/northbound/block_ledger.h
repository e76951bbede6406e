// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/northbound/record_ref.h"
#include "gateway/core/record.h"
#include "gateway/ports/lane.h"

#include <cstdint>
#include <deque>
#include <optional>

namespace fieldgate::northbound {

// The blocks that were read from the log and are not done with, oldest first,
// and how many records of each are still open.
// Thread: one. Bounds: bytes() and size(), which the reader watches.
class BlockLedger {
 public:
  // Takes a block of which the first `skipped` records are not this lane's any
  // more. Gives the number that RecordRef::block names it by.
  std::uint64_t add(RecordBlockPtr block, std::uint32_t skipped);

  // Precondition: `ref` is still open.
  RecordView record(RecordRef ref) const;

  enum class Fate : std::uint8_t { forwarded, filtered, dead_lettered, expired };
  // One record is done with. Precondition: it was open.
  void done(RecordRef ref, Fate fate);

  struct Completion {
    LogPosition through;
    LaneOutcome outcome;
  };
  // Drops the oldest blocks that have no open record, and says what they came to.
  std::optional<Completion> take_completed();

  std::size_t size() const noexcept { return entries_.size(); }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct Entry {
    RecordBlockPtr block;
    std::size_t bytes;
    std::size_t open;
    LaneOutcome outcome;
  };
  std::deque<Entry> entries_;
  std::uint64_t first_ = 0;  // number of the oldest
  std::size_t bytes_ = 0;
};

}  // namespace fieldgate::northbound
