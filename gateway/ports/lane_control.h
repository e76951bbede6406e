// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/ports/dead_letters.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fieldgate {

// What an operator may do to the lanes. Thread: any; none of it waits for a far side.
class LaneControl {
 public:
  virtual ~LaneControl() = default;

  // Errors: Errc::not_found: no lane of that name. Pausing what is paused is fine;
  // a pause outlives the process where the spool does.
  virtual Result<void> pause(std::string_view lane) = 0;
  virtual Result<void> resume(std::string_view lane) = 0;

  virtual const DeadLetterStore& dead_letters() const = 0;
  // Puts the record into the log again, for its lane alone, and deletes the letter.
  // Errors: Errc::not_found: no such letter, or its lane is not configured (any
  // more); Errc::full, Errc::unavailable: the log does not take it now; the letter
  // is kept.
  virtual Result<void> replay(std::uint64_t id) = 0;
  // Errors: Errc::not_found.
  virtual Result<void> discard(std::uint64_t id) = 0;
  struct Bulk {
    std::size_t done = 0;
    std::uint64_t next_after = 0;  // 0: none left; else go on with query.after = this
    std::optional<Error> stopped;  // why it stopped early
  };
  // At most query.limit of those that meet `query`, oldest first.
  virtual Bulk replay_all(const DeadLetterQuery& query) = 0;
  virtual Bulk discard_all(const DeadLetterQuery& query) = 0;
};

}  // namespace fieldgate
