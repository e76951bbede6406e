// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/block_cache.h"

#include <iterator>
#include <utility>

namespace fieldgate::spool {

void BlockCache::insert(RecordBlockPtr block, bool awaited) {
  const std::uint64_t key = block->last_position().value;
  if (const auto old = entries_.find(key); old != entries_.end()) {
    awaited = awaited || old->second.awaited;
    erase(old);
  }
  bytes_ += block->bytes();
  std::list<std::uint64_t>& order = awaited ? awaited_ : uses_;
  entries_.emplace(key, Entry{std::move(block), order.insert(order.end(), key), awaited});
  if (awaited_.size() > k_awaited_max) used(entries_.at(awaited_.front()));
  fit();
}

RecordBlockPtr BlockCache::find(LogPosition position) {
  const auto at = entries_.lower_bound(position.value);
  if (at == entries_.end() || at->second.block->first_position() > position) return nullptr;
  RecordBlockPtr block = at->second.block;
  used(at->second);
  fit();
  return block;
}

void BlockCache::drop_through(LogPosition through) {
  while (!entries_.empty() && entries_.begin()->first <= through.value) erase(entries_.begin());
}

void BlockCache::erase(Entries::iterator at) {
  Entry& entry = at->second;
  bytes_ -= entry.block->bytes();
  (entry.awaited ? awaited_ : uses_).erase(entry.use);
  entries_.erase(at);
}

void BlockCache::used(Entry& entry) {
  uses_.splice(uses_.end(), entry.awaited ? awaited_ : uses_, entry.use);
  entry.awaited = false;
}

void BlockCache::fit() {
  while (bytes_ > bytes_max_ && !uses_.empty()) erase(entries_.find(uses_.front()));
}

}  // namespace fieldgate::spool
