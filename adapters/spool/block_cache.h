// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>

namespace fieldgate::spool {

// Blocks fetched from the disk for those who read far behind.
// Bounds: bytes_max, by dropping what was used longest ago; but a block that
// somebody asked for stays until it was taken once, so that readers in many places
// cannot starve each other: k_awaited_max of them at most. Not thread-safe.
class BlockCache {
 public:
  explicit BlockCache(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  void insert(RecordBlockPtr block, bool awaited);
  // The block that holds `position`; nullptr if it is not here.
  RecordBlockPtr find(LogPosition position);
  // Forgets every block whose last position is <= `through`.
  void drop_through(LogPosition through);
  std::uint64_t bytes() const noexcept { return bytes_; }

  static constexpr std::size_t k_awaited_max = 64;

 private:
  struct Entry {
    RecordBlockPtr block;
    std::list<std::uint64_t>::iterator use;  // in uses_, or in awaited_
    bool awaited;
  };
  using Entries = std::map<std::uint64_t, Entry>;  // by last position
  void erase(Entries::iterator at);
  void used(Entry& entry);
  void fit();

  const std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  Entries entries_;
  std::list<std::uint64_t> uses_;     // keys of what was not awaited or was taken; longest ago first
  std::list<std::uint64_t> awaited_;  // oldest first
};

}  // namespace fieldgate::spool
