// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/memory_dead_letters.h"

#include <utility>

namespace fieldgate::spool {
namespace {

std::uint64_t bytes_of(const DeadLetter& letter) {
  return sizeof(DeadLetter) + letter.lane.size() + letter.device.size() + letter.name.size() + letter.target.size() +
         letter.reason.size() + letter.detail.size() + letter.payload.size();
}

}  // namespace

std::uint64_t MemoryDeadLetters::add(DeadLetter letter) {
  const MutexLock lock(mutex_);
  letter.id = ++last_id_;
  DeadLetterUsage& usage = usage_[letter.lane];
  usage.lane = letter.lane;
  ++usage.letters;
  usage.bytes += bytes_of(letter);
  bytes_ += bytes_of(letter);
  letters_.emplace(last_id_, std::move(letter));
  while (bytes_ > bytes_max_) {
    const auto oldest = letters_.begin();
    ++usage_[oldest->second.lane].evicted;
    forget(oldest->second);
    letters_.erase(oldest);
  }
  return last_id_;
}

void MemoryDeadLetters::forget(const DeadLetter& letter) {
  DeadLetterUsage& usage = usage_[letter.lane];
  --usage.letters;
  usage.bytes -= bytes_of(letter);
  bytes_ -= bytes_of(letter);
}

DeadLetterPage MemoryDeadLetters::list(const DeadLetterQuery& query) const {
  const MutexLock lock(mutex_);
  DeadLetterPage page;
  for (auto it = letters_.upper_bound(query.after); it != letters_.end(); ++it) {
    const DeadLetter& letter = it->second;
    if (!query.lane.empty() && letter.lane != query.lane) continue;
    if (!query.device.empty() && letter.device != query.device) continue;
    if (page.letters.size() == query.limit) {
      page.next_after = page.letters.empty() ? query.after : page.letters.back().id;
      break;
    }
    page.letters.push_back(letter);
  }
  return page;
}

std::optional<DeadLetter> MemoryDeadLetters::find(std::uint64_t id) const {
  const MutexLock lock(mutex_);
  const auto it = letters_.find(id);
  return it == letters_.end() ? std::nullopt : std::optional(it->second);
}

bool MemoryDeadLetters::remove(std::uint64_t id) {
  const MutexLock lock(mutex_);
  const auto it = letters_.find(id);
  if (it == letters_.end()) return false;
  forget(it->second);
  letters_.erase(it);
  return true;
}

std::vector<DeadLetterUsage> MemoryDeadLetters::usage() const {
  const MutexLock lock(mutex_);
  std::vector<DeadLetterUsage> all;
  for (const auto& [lane, usage] : usage_) all.push_back(usage);
  return all;
}

}  // namespace fieldgate::spool
