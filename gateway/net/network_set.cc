// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/network_set.h"

#include <algorithm>

namespace fieldgate::net {

namespace ip = boost::asio::ip;

Result<NetworkSet> NetworkSet::parse(std::span<const std::string> networks) {
  NetworkSet set;
  for (const std::string& text : networks) {
    error_code ec;
    if (const auto v4 = ip::make_network_v4(text, ec); !ec) {
      set.v4_.push_back(v4.canonical());
      continue;
    }
    ec.clear();
    if (const auto v6 = ip::make_network_v6(text, ec); !ec) {
      set.v6_.push_back(v6.canonical());
      continue;
    }
    return make_error(Errc::invalid_argument, "'" + text + "' is not a network such as 10.0.0.0/8 or fd00::/8");
  }
  return set;
}

bool NetworkSet::contains(const ip::address& address) const {
  if (address.is_v6() && !address.to_v6().is_v4_mapped()) {
    return std::ranges::any_of(v6_, [v6 = address.to_v6()](const ip::network_v6& network) {
      return ip::network_v6(v6, network.prefix_length()).canonical() == network;
    });
  }
  const ip::address_v4 v4 = address.is_v4() ? address.to_v4() : ip::make_address_v4(ip::v4_mapped, address.to_v6());
  return std::ranges::any_of(v4_, [v4](const ip::network_v4& network) {
    return ip::network_v4(v4, network.prefix_length()).canonical() == network;
  });
}

}  // namespace fieldgate::net
