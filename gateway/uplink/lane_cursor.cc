// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/lane_cursor.h"

#include <algorithm>
#include <cassert>

namespace fieldgate::uplink {

LogPosition LaneCursor::past_gaps(LogPosition from) const noexcept {
  from = std::max(from, LogPosition{completed_.value + 1});
  for (const Gap& gap : gaps_) {
    if (from >= gap.first && from <= gap.last) from = {gap.last.value + 1};
  }
  return from;
}

void LaneCursor::complete(LogPosition through, const LaneOutcome& outcome) {
  assert(through >= completed_ && through <= handed_);
  std::uint64_t span = through.value - completed_.value;
  while (!gaps_.empty() && gaps_.front().last <= through) span -= drop_gap();
  const std::uint64_t records = outcome.forwarded + outcome.filtered + outcome.dead_lettered + outcome.expired;
  assert(records <= span && (records == span || !required_));
  account_.forwarded += outcome.forwarded;
  account_.filtered += outcome.filtered;
  account_.dead_lettered += outcome.dead_lettered;
  account_.expired += outcome.expired;
  // A required lane skips nothing: what it leaves out is missing from its account.
  if (!required_) skipped_ += span - std::min(span, records);
  completed_ = through;
  pass_gap();
}

std::uint64_t LaneCursor::drop_gap() {
  const std::uint64_t size = gaps_.front().size();
  gaps_.pop_front();
  given_up_ -= size;
  return size;
}

// With nothing in the lane's hands before it, a gap is done with.
void LaneCursor::pass_gap() {
  if (gaps_.empty() || gaps_.front().first.value != completed_.value + 1) return;
  completed_ = gaps_.front().last;
  drop_gap();
}

std::uint64_t LaneCursor::give_up(LogPosition through, Cause cause) {
  LogPosition seen = std::max(handed_, completed_);
  if (!gaps_.empty()) seen = std::max(seen, gaps_.back().last);
  if (through <= seen) return 0;
  const Gap gap{{seen.value + 1}, through};
  if (!gaps_.empty() && gaps_.back().last == seen) {
    gaps_.back().last = through;
  } else {
    gaps_.push_back(gap);
  }
  given_up_ += gap.size();
  (cause == Cause::skipped ? skipped_ : account_.expired) += gap.size();
  pass_gap();
  return gap.size();
}

}  // namespace fieldgate::uplink
