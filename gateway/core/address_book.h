// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>

namespace fieldgate {

// Connections per peer address, for the cap on them; an IPv6 peer counts by its
// /64, an IPv4 one behind ::ffff:0:0/96 as itself. Thread: any.
// Bounds: one entry per address that has a connection now.
class AddressBook {
 public:
  // Sixteen bytes, as IPv6 has them; IPv4 mapped into it (RFC 4291 section 2.5.5.2).
  using Key = std::array<unsigned char, 16>;

  // False, and nothing is counted, if `address` has `max` already (0: no cap).
  // IpAddress: as Asio's ip::address.
  template <class IpAddress>
  bool enter(const IpAddress& address, std::uint32_t max) {
    return enter_key(key(address), max);
  }
  template <class IpAddress>
  void leave(const IpAddress& address) {
    leave_key(key(address));
  }

 private:
  template <class IpAddress>
  static Key key(const IpAddress& address) {
    Key key{};
    if (address.is_v6()) {
      const auto v6 = address.to_v6();
      const auto bytes = v6.to_bytes();
      std::copy_n(bytes.begin(), v6.is_v4_mapped() ? 16 : 8, key.begin());
    } else {
      key[10] = key[11] = 0xFF;
      std::ranges::copy(address.to_v4().to_bytes(), key.begin() + 12);
    }
    return key;
  }
  bool enter_key(const Key& key, std::uint32_t max);
  void leave_key(const Key& key);

  Mutex mutex_;
  std::map<Key, std::uint32_t> counts_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate
