// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/address_policy.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace fieldgate::webhook {
namespace {

namespace ip = boost::asio::ip;

std::string fault(const AddressPolicy& policy, const char* address) {
  return std::string(policy.fault(ip::make_address(address)));
}

TEST(AddressPolicy, LetsPublicAddressesPass) {
  const auto policy = AddressPolicy::make({}).value();
  for (const char* address :
       {"1.1.1.1",        "8.8.8.8",         "11.0.0.0",        "9.255.255.255",   "100.63.255.255",
        "100.128.0.0",    "126.255.255.255", "128.0.0.0",       "169.253.255.255", "169.255.0.0",
        "172.15.255.255", "172.32.0.0",      "192.0.1.0",       "192.167.255.255", "192.169.0.0",
        "198.17.255.255", "198.20.0.0",      "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
        "2001:200::1",    "2003::1",         "3ffe::1",         "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8"}) {
    EXPECT_EQ(fault(policy, address), "") << address;
  }
}

TEST(AddressPolicy, RefusesSpecialRangesAtBothEnds) {
  const auto policy = AddressPolicy::make({}).value();
  const std::vector<std::pair<const char*, const char*>> table = {
      {"0.0.0.0", "\"this network\""},
      {"0.255.255.255", "\"this network\""},
      {"10.0.0.0", "private network"},
      {"10.255.255.255", "private network"},
      {"100.64.0.0", "carrier-grade NAT"},
      {"100.127.255.255", "carrier-grade NAT"},
      {"127.0.0.1", "loopback"},
      {"127.255.255.255", "loopback"},
      {"169.254.169.254", "link-local"},
      {"172.16.0.0", "private network"},
      {"172.31.255.255", "private network"},
      {"192.0.0.8", "protocol assignments"},
      {"192.0.2.1", "documentation"},
      {"192.88.99.1", "6to4 relay"},
      {"192.168.0.1", "private network"},
      {"192.168.255.255", "private network"},
      {"198.18.0.0", "benchmarking"},
      {"198.19.255.255", "benchmarking"},
      {"198.51.100.7", "documentation"},
      {"203.0.113.255", "documentation"},
      {"224.0.0.1", "multicast"},
      {"239.255.255.255", "multicast"},
      {"240.0.0.1", "reserved or broadcast"},
      {"255.255.255.255", "reserved or broadcast"},
      {"::", "unspecified"},
      {"::1", "loopback"},
      {"100::1", "discard-only"},
      {"2001:db8::1", "documentation"},
      {"2001:1::1", "protocol assignments"},
      {"3fff::1", "documentation"},
      {"5f00::1", "segment routing"},
      {"fc00::1", "unique local (private) network"},
      {"fd12:3456::1", "unique local (private) network"},
      {"fe80::1", "link-local"},
      {"febf::1", "link-local"},
      {"fec0::1", "site-local"},
      {"ff02::1", "multicast"},
      {"4000::1", "not global unicast"},
      {"1fff::1", "not global unicast"},
  };
  for (const auto& [address, name] : table) EXPECT_EQ(fault(policy, address), name) << address;
}

TEST(AddressPolicy, SeesThroughWhateverCarriesAnIpv4Address) {
  const auto policy = AddressPolicy::make({}).value();
  EXPECT_EQ(fault(policy, "::ffff:127.0.0.1"), "loopback");
  EXPECT_EQ(fault(policy, "::ffff:169.254.169.254"), "link-local");
  EXPECT_EQ(fault(policy, "::ffff:10.1.2.3"), "private network");
  EXPECT_EQ(fault(policy, "64:ff9b::7f00:1"), "loopback");
  EXPECT_EQ(fault(policy, "64:ff9b::169.254.169.254"), "link-local");
  EXPECT_EQ(fault(policy, "64:ff9b:1::8.8.8.8"), "local NAT64");
  EXPECT_EQ(fault(policy, "::127.0.0.1"), "IPv4-compatible");
  EXPECT_EQ(fault(policy, "::8.8.8.8"), "IPv4-compatible");
  EXPECT_EQ(fault(policy, "2002:7f00:1::"), "6to4");
  EXPECT_EQ(fault(policy, "2002:0808:0808::1"), "6to4");
  EXPECT_EQ(fault(policy, "2001:0:4136:e378:8000:63bf:3fff:fdd2"), "Teredo");
}

TEST(AddressPolicy, LetsListedNetworksPassAndNothingBeside) {
  const auto policy =
      AddressPolicy::make({"10.1.0.0/16", "127.0.0.2/32", "fd00:1::/32", "::ffff:192.168.7.0/120"}).value();
  for (const char* address :
       {"10.1.0.1", "10.1.255.255", "::ffff:10.1.2.3", "127.0.0.2", "fd00:1:2::3", "192.168.7.9"}) {
    EXPECT_EQ(fault(policy, address), "") << address;
  }
  for (const char* address : {"10.0.255.255", "10.2.0.0", "127.0.0.1", "127.0.0.3", "fd00:2::1", "192.168.8.0",
                              "64:ff9b::10.1.0.1", "::10.1.0.1"}) {
    EXPECT_NE(fault(policy, address), "") << address;
  }
}

TEST(AddressPolicy, TakesAllOfIpv6ForNothingOfIpv4) {
  const auto policy = AddressPolicy::make({"::/0"}).value();
  EXPECT_EQ(policy.fault(ip::make_address("::1")), "");
  EXPECT_EQ(policy.fault(ip::make_address("127.0.0.1")), "loopback");
  EXPECT_EQ(policy.fault(ip::make_address("::ffff:169.254.169.254")), "link-local");
  EXPECT_EQ(AddressPolicy::make({"0.0.0.0/0"}).value().fault(ip::make_address("127.0.0.1")), "");
}

TEST(AddressPolicy, NamesANetworkThatIsNone) {
  for (const char* text : {"10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/8x", "10.0.0/8",
                           "localhost/8", "", "/8", "10.0.0.0/-1"}) {
    const auto policy = AddressPolicy::make({"10.0.0.0/8", text});
    ASSERT_FALSE(policy) << text;
    EXPECT_EQ(policy.error().code, Errc::invalid_argument);
    EXPECT_NE(policy.error().detail.find(text), std::string::npos);
  }
}

}  // namespace
}  // namespace fieldgate::webhook
