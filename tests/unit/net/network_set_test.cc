// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/network_set.h"

#include <gtest/gtest.h>

namespace fieldgate::net {
namespace {

bool contains(const std::vector<std::string>& networks, const char* address) {
  return NetworkSet::parse(networks).value().contains(boost::asio::ip::make_address(address));
}

TEST(NetworkSet, ContainsTheAddressesOfItsNetworks) {
  EXPECT_TRUE(contains({"10.1.0.0/16"}, "10.1.255.9"));
  EXPECT_FALSE(contains({"10.1.0.0/16"}, "10.2.0.0"));
  EXPECT_TRUE(contains({"192.0.2.0/24", "10.1.2.3/32"}, "10.1.2.3"));
  EXPECT_FALSE(contains({"10.1.2.3/32"}, "10.1.2.4"));
  EXPECT_TRUE(contains({"fd00::/8"}, "fdab::1"));
  EXPECT_FALSE(contains({"fd00::/8"}, "fe80::1"));
}

TEST(NetworkSet, TakesANetworkByAnyOfItsAddresses) { EXPECT_TRUE(contains({"10.1.2.3/16"}, "10.1.9.9")); }

TEST(NetworkSet, KnowsAnIpv4AddressOnAnIpv6Socket) {
  EXPECT_TRUE(contains({"10.0.0.0/8"}, "::ffff:10.9.9.9"));
  EXPECT_FALSE(contains({"::/0"}, "::ffff:10.9.9.9"));
  EXPECT_FALSE(contains({"0.0.0.0/0"}, "2001:db8::1"));
  EXPECT_TRUE(contains({"0.0.0.0/0"}, "198.51.100.1"));
}

TEST(NetworkSet, ContainsNothingWhenEmpty) {
  EXPECT_TRUE(NetworkSet().empty());
  EXPECT_FALSE(contains({}, "10.0.0.1"));
}

TEST(NetworkSet, NamesWhatIsNoNetwork) {
  const auto set = NetworkSet::parse(std::vector<std::string>{"10.0.0.0/8", "10.0.0.0/33"});
  ASSERT_FALSE(set);
  EXPECT_NE(set.error().detail.find("'10.0.0.0/33'"), std::string::npos);
}

}  // namespace
}  // namespace fieldgate::net
