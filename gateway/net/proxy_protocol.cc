// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/proxy_protocol.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace fieldgate::net {
namespace {

namespace ip = boost::asio::ip;

constexpr std::array<std::uint8_t, 12> k_signature = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                                      0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};
constexpr std::uint8_t k_local = 0x20;  // version 2, command
constexpr std::uint8_t k_proxy = 0x21;
constexpr std::uint8_t k_unspecified = 0x00;  // family and transport
constexpr std::uint8_t k_tcp4 = 0x11;
constexpr std::uint8_t k_tcp6 = 0x21;
constexpr std::size_t k_tcp4_bytes = 12;  // two addresses and two ports
constexpr std::size_t k_tcp6_bytes = 36;

std::uint8_t octet(std::span<const std::byte> bytes, std::size_t at) {
  return std::to_integer<std::uint8_t>(bytes[at]);
}

std::uint16_t number16(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(octet(bytes, at) << 8 | octet(bytes, at + 1));
}

template <class Address>
ip::tcp::endpoint source_of(std::span<const std::byte> body, std::size_t port_at) {
  typename Address::bytes_type address;
  std::memcpy(address.data(), body.data(), address.size());
  return {Address(address), number16(body, port_at)};
}

}  // namespace

ProxyResult parse_proxy_header(std::span<const std::byte> bytes) {
  for (std::size_t i = 0; i < std::min(bytes.size(), k_signature.size()); ++i) {
    if (octet(bytes, i) != k_signature[i]) return ProxyRefused{"it does not begin with a PROXY version 2 header"};
  }
  if (bytes.size() < k_proxy_header_bytes) return ProxyNeedMore{k_proxy_header_bytes};
  const std::uint8_t command = octet(bytes, 12);
  const std::uint8_t family = octet(bytes, 13);
  const std::size_t length = number16(bytes, 14);
  if (command != k_local && command != k_proxy) {
    return ProxyRefused{"its PROXY header has neither the command LOCAL nor PROXY of version 2"};
  }
  if (length > k_proxy_body_bytes_max) return ProxyRefused{"its PROXY header is longer than 4 KiB"};
  const bool known = command == k_proxy && family != k_unspecified;
  if (known && family != k_tcp4 && family != k_tcp6) {
    return ProxyRefused{"its PROXY header is not about TCP over IPv4 or IPv6"};
  }
  if (known && length < (family == k_tcp4 ? k_tcp4_bytes : k_tcp6_bytes)) {
    return ProxyRefused{"its PROXY header is too short for its addresses"};
  }
  const std::size_t size = k_proxy_header_bytes + length;
  if (bytes.size() < size) return ProxyNeedMore{size};
  if (!known) return ProxyHeader{size, std::nullopt};
  const auto body = bytes.subspan(k_proxy_header_bytes, length);
  return ProxyHeader{size, family == k_tcp4 ? source_of<ip::address_v4>(body, 8) : source_of<ip::address_v6>(body, 32)};
}

}  // namespace fieldgate::net
