// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/dead_letter_index.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/dead_letters.h"

#include <map>

namespace fieldgate::spool {

// Keeps dead letters in this process's memory: they die with it.
class MemoryDeadLetters final : public DeadLetterStore {
 public:
  explicit MemoryDeadLetters(std::uint64_t bytes_max) : index_(bytes_max) {}

  std::uint64_t add(DeadLetter letter) override;
  DeadLetterPage list(const DeadLetterQuery& query) const override;
  std::optional<DeadLetter> find(std::uint64_t id) const override;
  bool remove(std::uint64_t id) override;
  std::vector<DeadLetterUsage> usage() const override;

 private:
  mutable Mutex mutex_;
  DeadLetterIndex index_ GUARDED_BY(mutex_);
  std::map<std::uint64_t, DeadLetter> letters_ GUARDED_BY(mutex_);
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
};

}  // namespace fieldgate::spool
