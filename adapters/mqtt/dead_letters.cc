// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/dead_letters.h"

namespace fieldgate::mqtt {

void DeadLetters::add(DeadLetter letter) {
  const MutexLock lock(mutex_);
  ++total_;
  if (recent_.size() == k_recent_max) recent_.pop_front();
  recent_.push_back(std::move(letter));
}

std::uint64_t DeadLetters::total() const {
  const MutexLock lock(mutex_);
  return total_;
}

std::vector<DeadLetter> DeadLetters::recent() const {
  const MutexLock lock(mutex_);
  return {recent_.begin(), recent_.end()};
}

}  // namespace fieldgate::mqtt
