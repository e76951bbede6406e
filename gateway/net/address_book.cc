// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/address_book.h"

#include <algorithm>

namespace fieldgate::net {

boost::asio::ip::address AddressBook::key(const boost::asio::ip::address& address) {
  if (!address.is_v6()) return address;
  if (address.to_v6().is_v4_mapped())
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
  auto bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return boost::asio::ip::address_v6(bytes);
}

bool AddressBook::enter(const boost::asio::ip::address& address, std::uint32_t max) {
  const MutexLock lock(mutex_);
  std::uint32_t& count = counts_[key(address)];
  if (max != 0 && count >= max) return false;
  ++count;
  return true;
}

void AddressBook::leave(const boost::asio::ip::address& address) {
  const MutexLock lock(mutex_);
  const auto found = counts_.find(key(address));
  if (found != counts_.end() && --found->second == 0) counts_.erase(found);
}

}  // namespace fieldgate::net
