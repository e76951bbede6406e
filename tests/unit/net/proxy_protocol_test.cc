// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/proxy_protocol.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace fieldgate::net {
namespace {

using namespace std::string_literals;

const std::string k_signature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string header(std::string_view command_and_family, std::string_view body) {
  std::string out = k_signature;
  out += command_and_family;
  out += static_cast<char>(body.size() >> 8);
  out += static_cast<char>(body.size() & 0xFF);
  return out.append(body);
}

// 192.0.2.7:51234 to 198.51.100.1:8443
const std::string k_addresses4 = "\xC0\x00\x02\x07\xC6\x33\x64\x01\xC8\x22\x20\xFB"s;

ProxyResult parse(std::string_view bytes) { return parse_proxy_header(std::as_bytes(std::span(bytes))); }

ProxyHeader parsed(std::string_view bytes) {
  const ProxyResult result = parse(bytes);
  if (const auto* header = std::get_if<ProxyHeader>(&result)) return *header;
  ADD_FAILURE() << "no header";
  return {};
}

bool refused(std::string_view bytes) { return std::holds_alternative<ProxyRefused>(parse(bytes)); }

TEST(ProxyProtocol, TellsWhereAnIpv4DeviceIs) {
  const std::string bytes = header("\x21\x11", k_addresses4);
  const ProxyHeader found = parsed(bytes + "what the device says");
  EXPECT_EQ(found.size, bytes.size());
  ASSERT_TRUE(found.source);
  EXPECT_EQ(found.source->address().to_string(), "192.0.2.7");
  EXPECT_EQ(found.source->port(), 51'234);
}

TEST(ProxyProtocol, TellsWhereAnIpv6DeviceIs) {
  std::string body(36, '\0');
  body.replace(0, 4, "\x20\x01\x0D\xB8");
  body[15] = 9;
  body[33] = 80;
  const ProxyHeader found = parsed(header("\x21\x21", body));
  ASSERT_TRUE(found.source);
  EXPECT_EQ(found.source->address().to_string(), "2001:db8::9");
  EXPECT_EQ(found.source->port(), 80);
}

TEST(ProxyProtocol, PassesOverWhatFollowsTheAddresses) {
  const std::string bytes = header("\x21\x11", k_addresses4 + "\x04\x00\x01\x00"s);
  EXPECT_EQ(parsed(bytes).size, bytes.size());
  EXPECT_TRUE(parsed(bytes).source);
}

TEST(ProxyProtocol, KnowsNoDeviceWhereTheBalancerSpeaksForItself) {
  EXPECT_FALSE(parsed(header("\x20\x00"s, "")).source);
  EXPECT_FALSE(parsed(header("\x20\x11", k_addresses4)).source);
  EXPECT_FALSE(parsed(header("\x21\x00"s, "")).source);
}

TEST(ProxyProtocol, AsksForNoByteOfTheDevices) {
  const std::string bytes = header("\x21\x11", k_addresses4);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const ProxyResult result = parse(std::string_view(bytes).substr(0, n));
    ASSERT_TRUE(std::holds_alternative<ProxyNeedMore>(result)) << n;
    EXPECT_EQ(std::get<ProxyNeedMore>(result).total, n < 16 ? 16 : bytes.size());
  }
}

TEST(ProxyProtocol, RefusesWhatIsNoHeaderAtItsFirstByte) {
  EXPECT_TRUE(refused("\x16"));  // TLS
  EXPECT_TRUE(refused("GET /v1/connect HTTP/1.1\r\n"));
  EXPECT_TRUE(refused("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"));  // version 1
  EXPECT_TRUE(refused(k_signature.substr(0, 11) + "X"));
}

TEST(ProxyProtocol, RefusesUnsoundHeaders) {
  EXPECT_TRUE(refused(header("\x11\x11", k_addresses4)));                // version 1
  EXPECT_TRUE(refused(header("\x22\x11", k_addresses4)));                // no such command
  EXPECT_TRUE(refused(header("\x21\x12", k_addresses4)));                // UDP
  EXPECT_TRUE(refused(header("\x21\x31", std::string(216, 'a'))));       // a Unix socket
  EXPECT_TRUE(refused(header("\x21\x11", k_addresses4.substr(0, 11))));  // too short
  EXPECT_TRUE(refused(header("\x21\x21", k_addresses4)));                // too short for IPv6
  EXPECT_TRUE(refused(k_signature + "\x21\x11\x10\x01"s));               // 4,097 bytes
  EXPECT_FALSE(refused(k_signature + "\x21\x11\x10\x00"s));
}

}  // namespace
}  // namespace fieldgate::net
