// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <boost/asio/ip/address.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::webhook {

// Which addresses a request may go to: public ones, and those in networks that
// were listed. So whoever can set a name in DNS, or a URL, cannot make the gateway
// talk to what only it can reach (SSRF).
//
// An address that carries an IPv4 one is judged by that where it leads there
// (IPv4-mapped, RFC 4291 section 2.5.5.2; NAT64, RFC 6052), and refused where the
// form is deprecated (IPv4-compatible, 6to4, Teredo). Of IPv6, only global unicast
// (2000::/3) is public, less what the IANA special-purpose registries take out.
// Thread: any; immutable.
class AddressPolicy {
 public:
  // `allowed`: ADDRESS/BITS. A network of IPv4-mapped addresses is one of IPv4; a
  // wider one of IPv6, such as ::/0, has nothing to say of IPv4.
  // Errors: Errc::invalid_argument, naming the element.
  static Result<AddressPolicy> make(const std::vector<std::string>& allowed);

  // Why `address` is refused, such as "loopback"; empty: it is not.
  std::string_view fault(const boost::asio::ip::address& address) const;

 private:
  struct Network {
    std::array<unsigned char, 16> bytes{};  // IPv4 as IPv4-mapped
    unsigned bits = 0;
  };
  std::vector<Network> allowed_;
};

}  // namespace fieldgate::webhook
