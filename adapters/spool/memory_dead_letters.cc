// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/memory_dead_letters.h"

#include <utility>

namespace fieldgate::spool {

std::uint64_t MemoryDeadLetters::add(DeadLetter letter) {
  const MutexLock lock(mutex_);
  const std::uint64_t id = next_++;
  letter.id = id;
  const auto gone = index_.add(id, letter.lane, DeadLetterIndex::bytes_of(letter));
  letters_.emplace(id, std::move(letter));
  for (const std::uint64_t old : gone) letters_.erase(old);
  return id;
}

DeadLetterPage MemoryDeadLetters::list(const DeadLetterQuery& query) const {
  DeadLetterPage page;
  const MutexLock lock(mutex_);
  for (auto at = letters_.upper_bound(query.after); at != letters_.end(); ++at) {
    const DeadLetter& letter = at->second;
    if (!query.lane.empty() && letter.lane != query.lane) continue;
    if (!query.device.empty() && letter.device != query.device) continue;
    if (page.letters.size() == query.limit) {  // there is one more
      page.next_after = page.letters.empty() ? query.after : page.letters.back().id;
      break;
    }
    page.letters.push_back(letter);
  }
  return page;
}

std::optional<DeadLetter> MemoryDeadLetters::find(std::uint64_t id) const {
  const MutexLock lock(mutex_);
  const auto at = letters_.find(id);
  return at == letters_.end() ? std::nullopt : std::optional(at->second);
}

bool MemoryDeadLetters::remove(std::uint64_t id) {
  const MutexLock lock(mutex_);
  letters_.erase(id);
  return index_.remove(id);
}

std::vector<DeadLetterUsage> MemoryDeadLetters::usage() const {
  const MutexLock lock(mutex_);
  return index_.usage();
}

}  // namespace fieldgate::spool
