// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/address_book.h"

#include <gtest/gtest.h>
#include <boost/asio/ip/address.hpp>

namespace fieldgate {
namespace {

using boost::asio::ip::make_address;

TEST(AddressBook, RefusesWhatIsOverTheCapUntilOneLeaves) {
  AddressBook book;
  EXPECT_TRUE(book.enter(make_address("192.0.2.1"), 2));
  EXPECT_TRUE(book.enter(make_address("192.0.2.1"), 2));
  EXPECT_FALSE(book.enter(make_address("192.0.2.1"), 2));
  EXPECT_TRUE(book.enter(make_address("192.0.2.2"), 2));
  book.leave(make_address("192.0.2.1"));
  EXPECT_TRUE(book.enter(make_address("192.0.2.1"), 2));
  EXPECT_TRUE(book.enter(make_address("192.0.2.1"), 0));  // no cap
}

TEST(AddressBook, CountsAnIpv6PeerByItsNetworkAndAMappedOneAsIpv4) {
  AddressBook book;
  EXPECT_TRUE(book.enter(make_address("2001:db8:0:1::1"), 1));
  EXPECT_FALSE(book.enter(make_address("2001:db8:0:1:ffff::2"), 1));
  EXPECT_TRUE(book.enter(make_address("2001:db8:0:2::1"), 1));
  EXPECT_TRUE(book.enter(make_address("::ffff:192.0.2.1"), 1));
  EXPECT_FALSE(book.enter(make_address("192.0.2.1"), 1));
  EXPECT_TRUE(book.enter(make_address("192.0.2.2"), 1));
}

}  // namespace
}  // namespace fieldgate
