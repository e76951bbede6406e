// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/memory_spool.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace fieldgate::spool {

Result<LogPosition> MemorySpool::append(std::shared_ptr<RecordBlock> block) {
  if (block->empty()) return make_error(Errc::invalid_argument, "a block without records");
  const std::size_t bytes = block->bytes();
  const MutexLock lock(mutex_);
  if (bytes > bytes_max_ - bytes_) return make_error(Errc::full, "uplink memory is full");
  const LogPosition first = next_;
  block->set_first_position(first);
  next_ = {first.value + block->size()};
  bytes_ += bytes;
  blocks_.push_back(std::move(block));
  return first;
}

RecordBlockPtr MemorySpool::read(LogPosition from) const {
  const MutexLock lock(mutex_);
  const auto at = std::ranges::lower_bound(blocks_, from, {}, [](const auto& block) { return block->last_position(); });
  return at == blocks_.end() ? nullptr : *at;
}

void MemorySpool::trim(LogPosition through) {
  std::vector<RecordBlockPtr> dropped;  // freed without the lock
  const MutexLock lock(mutex_);
  while (!blocks_.empty() && blocks_.front()->last_position() <= through) {
    bytes_ -= blocks_.front()->bytes();
    dropped.push_back(std::move(blocks_.front()));
    blocks_.pop_front();
  }
}

SpoolUsage MemorySpool::usage() const {
  const MutexLock lock(mutex_);
  SpoolUsage usage;
  usage.first = blocks_.empty() ? next_ : blocks_.front()->first_position();
  usage.next = next_;
  usage.records = usage.next.value - usage.first.value;
  usage.bytes = bytes_;
  usage.bytes_max = bytes_max_;
  return usage;
}

}  // namespace fieldgate::spool
