// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

namespace fieldgate::net {

// The header of PROXY protocol version 2, by which a balancer says for whom it speaks
// (haproxy's doc/proxy-protocol.txt, section 2.2). Version 1, as text, is refused.

// Before the length is known; then with whatever it says.
inline constexpr std::size_t k_proxy_header_bytes = 16;
// Addresses and TLVs. What balancers send is a tenth of that.
inline constexpr std::size_t k_proxy_body_bytes_max = 4'096;

struct ProxyNeedMore {
  std::size_t total;  // bytes that must be there before the next try; not one of them is the device's
};
struct ProxyRefused {
  std::string_view why;
};
struct ProxyHeader {
  std::size_t size;  // bytes of it; what follows is the device's
  // nullopt: the balancer speaks for itself (LOCAL, such as a health check), or does not know.
  std::optional<boost::asio::ip::tcp::endpoint> source;
};
using ProxyResult = std::variant<ProxyNeedMore, ProxyRefused, ProxyHeader>;

// What `bytes`, the beginning of a connection, say. TLVs are not looked at. Refuses as
// soon as it can be seen that these are no header.
ProxyResult parse_proxy_header(std::span<const std::byte> bytes);

}  // namespace fieldgate::net
