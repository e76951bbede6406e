// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/seq_set.h"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace fieldgate::sim {

Arrival SeqSet::add(std::uint64_t seq) {
  assert(seq >= 1);
  if (runs_.empty() || seq > runs_.back().last) {
    if (!runs_.empty() && seq == runs_.back().last + 1) {
      runs_.back().last = seq;
    } else {
      runs_.push_back({seq, seq});
    }
    ++size_;
    return Arrival::in_order;
  }
  // The first run that ends at or after `seq`; there is one.
  const auto after = std::ranges::lower_bound(runs_, seq, {}, &Run::last);
  if (after->first <= seq) return Arrival::duplicate;
  ++size_;
  const bool joins_after = after->first == seq + 1;
  const bool joins_before = after != runs_.begin() && std::prev(after)->last + 1 == seq;
  if (joins_before && joins_after) {
    std::prev(after)->last = after->last;
    runs_.erase(after);
  } else if (joins_before) {
    std::prev(after)->last = seq;
  } else if (joins_after) {
    after->first = seq;
  } else {
    runs_.insert(after, Run{seq, seq});
  }
  return Arrival::out_of_order;
}

bool SeqSet::contains(std::uint64_t seq) const noexcept {
  const auto run = std::ranges::lower_bound(runs_, seq, {}, &Run::last);
  return run != runs_.end() && run->first <= seq;
}

std::uint64_t SeqSet::count_through(std::uint64_t through) const noexcept {
  std::uint64_t count = 0;
  for (const Run& run : runs_) {
    if (run.first > through) break;
    count += std::min(run.last, through) - run.first + 1;
  }
  return count;
}

}  // namespace fieldgate::sim
