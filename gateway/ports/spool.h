// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <cstdint>
#include <functional>
#include <memory>

namespace fieldgate {

struct SpoolUsage {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_max = 0;
  LogPosition first;  // oldest kept; next if empty
  LogPosition next;   // the position that the next record will get
};

// Where the uplink log keeps its records: an ordered, bounded sequence of blocks.
// Thread: every member from any thread; none of them waits.
// Bounds: bytes_max, as RecordBlock::bytes counts.
class Spool {
 public:
  virtual ~Spool() = default;

  // Gives `block` its positions and keeps it. Blocks from one thread keep their
  // order. Errors: Errc::full, and `block` is as it was; Errc::unavailable once
  // the medium has failed.
  virtual Result<LogPosition> append(std::shared_ptr<RecordBlock> block) = 0;

  // The block that holds `from`, or the first kept after it; nullptr at the end.
  virtual RecordBlockPtr read(LogPosition from) const = 0;

  // Gives up every block whose last position is <= `through`.
  virtual void trim(LogPosition through) = 0;

  virtual SpoolUsage usage() const = 0;

  // Everything <= this survives the process: what the SPOOLED stage rests on.
  // 0 for a spool that does not outlive it.
  virtual LogPosition durable_through() const = 0;

  // Whether it outlives the process at all. Never changes.
  virtual bool durable() const noexcept = 0;
};

}  // namespace fieldgate
