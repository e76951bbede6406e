// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <cstdint>
#include <deque>
#include <optional>

namespace fieldgate::uplink {

// Where the log's blocks end, how large and how old they are, in stretches of a few
// blocks: so that room can be made and records can expire without reading them.
// Thread: one at a time.
// Bounds: a stretch takes about a 16,384th of bytes_max, and a second at most; beyond
//         k_stretches_max stretches pairs of them become one.
class LogOutline {
 public:
  static constexpr std::size_t k_stretches_max = 131'072;

  explicit LogOutline(std::uint64_t bytes_max) : stretch_bytes_(bytes_max / 16'384) {}

  // A block that was appended.
  void add(const RecordBlock& block);
  // Blocks that were there before, up to `last`, a block's end; times of the first and
  // the last of their records.
  void add(LogPosition last, std::uint64_t bytes, std::int64_t oldest_unix_ms, std::int64_t newest_unix_ms);
  // Everything <= `through` is gone.
  void trim(LogPosition through);

  std::uint64_t bytes() const noexcept { return bytes_; }
  // The block's end through which the oldest blocks take at least `bytes`, or as much
  // as there is until `limit`. nullopt: none ends there.
  std::optional<LogPosition> through_bytes(std::uint64_t bytes, LogPosition limit) const;
  // The block's end through which everything was received before `unix_ms`.
  std::optional<LogPosition> through_time(std::int64_t unix_ms) const;
  // When the record at `position` was received, or a little earlier; 0: unknown.
  std::int64_t received_unix_ms(LogPosition position) const;

 private:
  struct Stretch {
    LogPosition last;
    std::uint64_t bytes;
    std::int64_t oldest_unix_ms;
    std::int64_t newest_unix_ms;  // of all until here: never falls
  };
  void halve();

  const std::uint64_t stretch_bytes_;
  std::deque<Stretch> stretches_;  // oldest first
  std::uint64_t bytes_ = 0;
};

}  // namespace fieldgate::uplink
