// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace fieldgate::spool {

// The newest blocks of the log: all that are not durable yet, and before them as
// many as bytes_max allows. Not thread-safe.
class LogTail {
 public:
  explicit LogTail(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // The position that comes next; before the first append.
  void start(LogPosition next) { next_ = next; }
  // Gives `block` its positions. `disk_bytes`: what it will take there at most.
  LogPosition append(std::shared_ptr<RecordBlock> block, std::uint64_t disk_bytes);
  // The block that holds `position`, if it is here.
  RecordBlockPtr find(LogPosition position) const;
  // The oldest that are not durable: at least one, if there is any, then more as
  // long as they take at most `disk_bytes_max`.
  std::vector<RecordBlockPtr> unsaved(std::uint64_t disk_bytes_max) const;
  // What is durable now; what is dropped for it is handed out, to be freed elsewhere.
  void saved_through(LogPosition position, std::vector<RecordBlockPtr>& dropped);
  // Forgets durable blocks whose last position is <= `through`.
  void drop_through(LogPosition through, std::vector<RecordBlockPtr>& dropped);

  LogPosition next() const noexcept { return next_; }
  // The oldest position that is here; next() if none is.
  LogPosition first() const noexcept { return entries_.empty() ? next_ : entries_.front().block->first_position(); }
  std::uint64_t unsaved_records() const noexcept { return unsaved_records_; }
  std::uint64_t unsaved_bytes() const noexcept { return unsaved_bytes_; }            // of memory
  std::uint64_t unsaved_disk_bytes() const noexcept { return unsaved_disk_bytes_; }  // as given

 private:
  struct Entry {
    RecordBlockPtr block;
    std::uint64_t bytes;
    std::uint64_t disk_bytes;
  };
  void drop_front(std::vector<RecordBlockPtr>& dropped);

  const std::uint64_t bytes_max_;
  LogPosition next_{1};
  std::deque<Entry> entries_;
  std::size_t saved_ = 0;  // of entries_, from the front
  std::uint64_t bytes_ = 0;
  std::uint64_t unsaved_records_ = 0;
  std::uint64_t unsaved_bytes_ = 0;
  std::uint64_t unsaved_disk_bytes_ = 0;
};

}  // namespace fieldgate::spool
