// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <span>
#include <string>
#include <vector>

namespace fieldgate::net {

// Networks by address and prefix length (CIDR: RFC 4632, RFC 4291 section 2.3).
// Immutable once made. Thread: any.
class NetworkSet {
 public:
  NetworkSet() = default;
  // Errors: Errc::invalid_argument: one is no ADDRESS/BITS; the detail names it.
  static Result<NetworkSet> parse(std::span<const std::string> networks);

  // An IPv4 address counts as such however it is written (::ffff:192.0.2.1).
  bool contains(const boost::asio::ip::address& address) const;
  bool empty() const noexcept { return v4_.empty() && v6_.empty(); }

 private:
  std::vector<boost::asio::ip::network_v4> v4_;  // canonical, as the others
  std::vector<boost::asio::ip::network_v6> v6_;
};

}  // namespace fieldgate::net
