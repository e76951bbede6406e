// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"

#include <boost/asio/ip/address.hpp>

#include <cstdint>
#include <unordered_map>

namespace fieldgate::net {

// Connections per peer address, for the cap on them; an IPv6 peer counts by its
// /64. Thread: any.
// Bounds: one entry per address that has a connection now.
class AddressBook {
 public:
  // False, and nothing is counted, if `address` has `max` already (0: no cap).
  bool enter(const boost::asio::ip::address& address, std::uint32_t max);
  void leave(const boost::asio::ip::address& address);

 private:
  static boost::asio::ip::address key(const boost::asio::ip::address& address);

  Mutex mutex_;
  std::unordered_map<boost::asio::ip::address, std::uint32_t> counts_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::net
