// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/address_book.h"

namespace fieldgate {

bool AddressBook::enter_key(const Key& key, std::uint32_t max) {
  const MutexLock lock(mutex_);
  std::uint32_t& count = counts_[key];
  if (max != 0 && count >= max) return false;
  ++count;
  return true;
}

void AddressBook::leave_key(const Key& key) {
  const MutexLock lock(mutex_);
  const auto found = counts_.find(key);
  if (found != counts_.end() && --found->second == 0) counts_.erase(found);
}

}  // namespace fieldgate
