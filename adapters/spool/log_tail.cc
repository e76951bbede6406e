// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/log_tail.h"

#include <algorithm>
#include <utility>

namespace fieldgate::spool {

LogPosition LogTail::append(std::shared_ptr<RecordBlock> block, std::uint64_t disk_bytes) {
  const LogPosition first = next_;
  block->set_first_position(first);
  next_ = {first.value + block->size()};
  const std::uint64_t bytes = block->bytes();
  bytes_ += bytes;
  unsaved_records_ += block->size();
  unsaved_bytes_ += bytes;
  unsaved_disk_bytes_ += disk_bytes;
  entries_.push_back({std::move(block), bytes, disk_bytes});
  return first;
}

RecordBlockPtr LogTail::find(LogPosition position) const {
  if (position < first() || position >= next_) return nullptr;
  const auto at =
      std::ranges::lower_bound(entries_, position, {}, [](const Entry& entry) { return entry.block->last_position(); });
  return at->block;
}

std::vector<RecordBlockPtr> LogTail::unsaved(std::uint64_t disk_bytes_max) const {
  std::vector<RecordBlockPtr> run;
  std::uint64_t bytes = 0;
  for (std::size_t i = saved_; i < entries_.size(); ++i) {
    bytes += entries_[i].disk_bytes;
    if (bytes > disk_bytes_max && !run.empty()) break;
    run.push_back(entries_[i].block);
  }
  return run;
}

void LogTail::saved_through(LogPosition position, std::vector<RecordBlockPtr>& dropped) {
  for (; saved_ < entries_.size() && entries_[saved_].block->last_position() <= position; ++saved_) {
    const Entry& entry = entries_[saved_];
    unsaved_records_ -= entry.block->size();
    unsaved_bytes_ -= entry.bytes;
    unsaved_disk_bytes_ -= entry.disk_bytes;
  }
  while (bytes_ > bytes_max_ && saved_ > 0) drop_front(dropped);
}

void LogTail::drop_through(LogPosition through, std::vector<RecordBlockPtr>& dropped) {
  while (saved_ > 0 && entries_.front().block->last_position() <= through) drop_front(dropped);
}

void LogTail::drop_front(std::vector<RecordBlockPtr>& dropped) {
  bytes_ -= entries_.front().bytes;
  dropped.push_back(std::move(entries_.front().block));
  entries_.pop_front();
  --saved_;
}

}  // namespace fieldgate::spool
