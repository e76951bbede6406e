// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/ports/lane.h"

#include <algorithm>
#include <cstdint>
#include <deque>

namespace fieldgate::uplink {

// Where one lane stands in the log, and what became of the records before that.
//
//   ... completed | in the lane's hands, or given up unread (gaps) | not read yet ...
//
// Thread: one at a time.
// Bounds: between two gaps lies a block in the lane's hands.
class LaneCursor {
 public:
  // The lane has yet to do what comes after `completed`.
  LaneCursor(bool required, LogPosition completed) : required_(required), completed_(completed), handed_(completed) {}

  bool required() const noexcept { return required_; }
  LogPosition completed() const noexcept { return completed_; }
  // The log need not keep anything <= this for the lane.
  LogPosition floor() const noexcept { return std::max(completed_, released_); }

  // The first position from `from` on that has not been given up.
  LogPosition past_gaps(LogPosition from) const noexcept;
  // The lane has been given a block that ends here.
  void hand(LogPosition last) noexcept { handed_ = std::max(handed_, last); }
  // The lane's word. What it passes over in silence it had read, dropped, and not
  // found again: skipped, which a best-effort lane alone may do.
  // Precondition: completed() <= through <= the last handed.
  void complete(LogPosition through, const LaneOutcome& outcome);

  enum class Cause : std::uint8_t { skipped, expired };
  // Gives up what the lane has not read yet, through a block's end. How many.
  std::uint64_t give_up(LogPosition through, Cause cause);
  // The log may lose what it holds <= `through`, although the lane has not completed it.
  void release(LogPosition through) noexcept { released_ = std::max(released_, through); }

  std::uint64_t pending(LogPosition last) const noexcept { return last.value - completed_.value - given_up_; }
  const LaneOutcome& account() const noexcept { return account_; }
  std::uint64_t skipped() const noexcept { return skipped_; }

 private:
  struct Gap {
    LogPosition first;
    LogPosition last;
    std::uint64_t size() const noexcept { return last.value - first.value + 1; }
  };
  std::uint64_t drop_gap();
  void pass_gap();

  bool required_;
  LogPosition completed_;
  LogPosition handed_;
  LogPosition released_;
  std::deque<Gap> gaps_;        // oldest first, beyond completed_ and not next to it
  std::uint64_t given_up_ = 0;  // records in them
  std::uint64_t skipped_ = 0;
  LaneOutcome account_;
};

}  // namespace fieldgate::uplink
