// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/dead_letters.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::spool {

// Dead letters in memory, gone with the process.
// Thread: any; nothing waits.
// Bounds: bytes_max over all letters, each counted with what its texts take and a
// fixed share; one that alone is larger is evicted at once.
class MemoryDeadLetters final : public DeadLetterStore {
 public:
  explicit MemoryDeadLetters(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  std::uint64_t add(DeadLetter letter) override;
  DeadLetterPage list(const DeadLetterQuery& query) const override;
  std::optional<DeadLetter> find(std::uint64_t id) const override;
  bool remove(std::uint64_t id) override;
  std::vector<DeadLetterUsage> usage() const override;

 private:
  void forget(const DeadLetter& letter) REQUIRES(mutex_);

  const std::uint64_t bytes_max_;
  mutable Mutex mutex_;
  std::uint64_t last_id_ GUARDED_BY(mutex_) = 0;
  std::uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, DeadLetter> letters_ GUARDED_BY(mutex_);
  std::map<std::string, DeadLetterUsage> usage_ GUARDED_BY(mutex_);  // by lane
};

}  // namespace fieldgate::spool
