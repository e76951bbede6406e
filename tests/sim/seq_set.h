// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace fieldgate::sim {

enum class Arrival : std::uint8_t {
  in_order,      // new, and higher than all before
  out_of_order,  // new, but a higher one was here first
  duplicate,     // has been here before
};

// The sequence numbers of one stream that have arrived, as runs: a stream that
// arrives in order costs 16 bytes however long it is.
class SeqSet {
 public:
  // Precondition: seq >= 1.
  Arrival add(std::uint64_t seq);

  bool contains(std::uint64_t seq) const noexcept;
  std::uint64_t size() const noexcept { return size_; }
  // 0 if empty.
  std::uint64_t highest() const noexcept { return runs_.empty() ? 0 : runs_.back().last; }
  // How many of 1..through are here.
  std::uint64_t count_through(std::uint64_t through) const noexcept;

 private:
  struct Run {
    std::uint64_t first;
    std::uint64_t last;
  };
  // Ascending; between any two lies a gap of at least one.
  std::vector<Run> runs_;
  std::uint64_t size_ = 0;
};

}  // namespace fieldgate::sim
