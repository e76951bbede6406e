// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/address_policy.h"

#include <algorithm>
#include <charconv>

namespace fieldgate::webhook {
namespace {

namespace ip = boost::asio::ip;
using Bytes = std::array<unsigned char, 16>;

bool within(const Bytes& address, const Bytes& network, unsigned bits) {
  const std::size_t whole = bits / 8;
  if (!std::equal(network.begin(), network.begin() + whole, address.begin())) return false;
  const unsigned rest = bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<unsigned char>(0xFF << (8 - rest));
  return ((network[whole] ^ address[whole]) & mask) == 0;
}

Bytes mapped(std::uint32_t v4) {
  Bytes bytes{};
  bytes[10] = bytes[11] = 0xFF;
  for (int i = 0; i < 4; ++i) bytes[12 + i] = static_cast<unsigned char>(v4 >> (24 - 8 * i));
  return bytes;
}

// IPv4 as IPv4-mapped, whichever way it is written.
Bytes bytes_of(const ip::address& address) {
  if (address.is_v4()) return mapped(address.to_v4().to_uint());
  const auto raw = address.to_v6().to_bytes();
  Bytes bytes;
  std::copy(raw.begin(), raw.end(), bytes.begin());
  return bytes;
}

// The number after the slash; more than any prefix has if it is none.
unsigned parse_bits(std::string_view text, std::size_t slash) {
  constexpr unsigned k_none = 129;
  if (slash == std::string_view::npos) return k_none;
  unsigned bits = k_none;
  const char* const end = text.data() + text.size();
  const auto [rest, ec] = std::from_chars(text.data() + slash + 1, end, bits);
  return ec == std::errc() && rest == end ? bits : k_none;
}

struct Range {
  std::string_view network;
  unsigned bits;
  std::string_view name;
};

// IANA IPv4 Special-Purpose Address Registry (RFC 6890), and multicast.
constexpr Range k_v4[] = {
    {"0.0.0.0", 8, "\"this network\""},        {"10.0.0.0", 8, "private network"},
    {"100.64.0.0", 10, "carrier-grade NAT"},   {"127.0.0.0", 8, "loopback"},
    {"169.254.0.0", 16, "link-local"},         {"172.16.0.0", 12, "private network"},
    {"192.0.0.0", 24, "protocol assignments"}, {"192.0.2.0", 24, "documentation"},
    {"192.88.99.0", 24, "6to4 relay"},         {"192.168.0.0", 16, "private network"},
    {"198.18.0.0", 15, "benchmarking"},        {"198.51.100.0", 24, "documentation"},
    {"203.0.113.0", 24, "documentation"},      {"224.0.0.0", 4, "multicast"},
    {"240.0.0.0", 4, "reserved or broadcast"},
};

// IANA IPv6 Special-Purpose Address Registry; first match.
constexpr Range k_v6[] = {
    {"::", 128, "unspecified"},
    {"::1", 128, "loopback"},
    {"::", 96, "IPv4-compatible"},
    {"64:ff9b:1::", 48, "local NAT64"},
    {"100::", 64, "discard-only"},
    {"2001::", 32, "Teredo"},
    {"2001::", 23, "protocol assignments"},
    {"2001:db8::", 32, "documentation"},
    {"2002::", 16, "6to4"},
    {"3fff::", 20, "documentation"},
    {"5f00::", 16, "segment routing"},
    {"fc00::", 7, "unique local (private) network"},
    {"fe80::", 10, "link-local"},
    {"fec0::", 10, "site-local"},
    {"ff00::", 8, "multicast"},
};

template <std::size_t N>
std::string_view find_range(const Range (&ranges)[N], const Bytes& address) {
  for (const Range& range : ranges) {
    const auto network = ip::make_address(range.network);
    if (within(address, bytes_of(network), range.bits + (network.is_v4() ? 96 : 0))) return range.name;
  }
  return {};
}

constexpr unsigned k_mapped_bits = 96;

bool has_prefix(const Bytes& address, const char* network, unsigned bits) {
  return within(address, bytes_of(ip::make_address(network)), bits);
}

std::string_view special(Bytes address) {
  if (has_prefix(address, "64:ff9b::", 96)) {
    // The address that the translator will connect to.
    address = mapped(address[12] * 0x1000000U + address[13] * 0x10000U + address[14] * 0x100U + address[15]);
  }
  if (has_prefix(address, "::ffff:0:0", k_mapped_bits)) return find_range(k_v4, address);
  const std::string_view name = find_range(k_v6, address);
  if (!name.empty()) return name;
  return has_prefix(address, "2000::", 3) ? std::string_view() : "not global unicast";
}

}  // namespace

Result<AddressPolicy> AddressPolicy::make(const std::vector<std::string>& allowed) {
  AddressPolicy policy;
  for (const std::string& text : allowed) {
    const std::size_t slash = text.find('/');
    error_code ec;
    const auto address = ip::make_address(text.substr(0, slash), ec);
    const unsigned bits = parse_bits(text, slash);
    if (ec || bits > (address.is_v4() ? 32U : 128U)) {
      return make_error(Errc::invalid_argument,
                        "allowed_networks: " + text + " is not a network such as 10.1.0.0/16 or fd00::/8");
    }
    policy.allowed_.push_back({bytes_of(address), bits + (address.is_v4() ? 96U : 0U)});
  }
  return policy;
}

std::string_view AddressPolicy::fault(const ip::address& address) const {
  const Bytes bytes = bytes_of(address);
  const bool v4 = has_prefix(bytes, "::ffff:0:0", k_mapped_bits);
  for (const Network& network : allowed_) {
    if (v4 && network.bits < k_mapped_bits) continue;  // ::/0 means IPv6
    if (within(bytes, network.bytes, network.bits)) return {};
  }
  return special(bytes);
}

}  // namespace fieldgate::webhook
