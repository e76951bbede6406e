// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/dead_letters.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::spool {

// Which dead letters there are, whose and how large: what both stores decide on.
// Bounds: bytes_max, by giving up the oldest. Not thread-safe.
class DeadLetterIndex {
 public:
  explicit DeadLetterIndex(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // What `letter` takes of the budget.
  static std::uint64_t bytes_of(const DeadLetter& letter) noexcept;

  // Takes the letter in, and tells which had to go for it, by rising id; that may
  // be itself.
  std::vector<std::uint64_t> add(std::uint64_t id, std::string_view lane, std::uint64_t bytes);
  bool remove(std::uint64_t id);
  bool contains(std::uint64_t id) const { return letters_.contains(id); }
  // Ids above `after`, rising, at most `limit`; of one lane, unless it is empty.
  std::vector<std::uint64_t> after(std::uint64_t after, std::string_view lane, std::size_t limit) const;
  std::vector<DeadLetterUsage> usage() const { return lanes_; }

 private:
  struct Entry {
    std::size_t lane;  // in lanes_
    std::uint64_t bytes;
  };
  using Entries = std::map<std::uint64_t, Entry>;
  std::size_t lane_index(std::string_view lane);
  Entries::iterator drop(Entries::iterator at);

  const std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  Entries letters_;
  std::vector<DeadLetterUsage> lanes_;
};

}  // namespace fieldgate::spool
