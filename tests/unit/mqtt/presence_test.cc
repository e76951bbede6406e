// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/presence_book.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

namespace fieldgate::mqtt {
namespace {

DeviceId id(std::string_view text) { return DeviceId::parse(text).value(); }
PresenceState on(std::uint64_t epoch) { return {true, {epoch}, 10, ""}; }
PresenceState off(std::uint64_t epoch) { return {false, {epoch}, 20, "bye"}; }
RetainedPresence kept(bool online, std::uint64_t epoch, std::string node = "gw-1", std::string boot = "b2") {
  return {online, {epoch}, std::move(node), std::move(boot), 5};
}

struct Book : testing::Test {
  PresenceBook book{"gw-1", "b2", 100};
  // Publishes the next and has it acknowledged; empty: there is none.
  std::string publish() {
    auto update = book.next();
    if (!update) return {};
    book.done(update->device, true);
    return update->payload;
  }
};

TEST_F(Book, PublishesTheNewestStateAlone) {
  book.apply(id("a"), on(5));
  book.apply(id("a"), off(5));
  book.apply(id("a"), on(6));
  EXPECT_EQ(publish(), R"({"online":true,"epoch":"6","node":"gw-1","boot_id":"b2","since_ms":10})");
  EXPECT_EQ(publish(), "");
}

TEST_F(Book, IgnoresWhatIsOlderThanItKnows) {
  book.apply(id("a"), on(6));
  book.apply(id("a"), off(5));
  EXPECT_NE(publish().find("\"epoch\":\"6\""), std::string::npos);
  book.apply(id("a"), off(6));
  EXPECT_NE(publish().find("\"reason\":\"bye\""), std::string::npos);
  book.apply(id("a"), on(6));
  EXPECT_EQ(publish(), "") << "within one epoch offline is last";
}

TEST_F(Book, WaitsForAnAcknowledgementBeforeItPublishesTheSameDeviceAgain) {
  book.apply(id("a"), on(5));
  const auto first = book.next();
  ASSERT_TRUE(first);
  book.apply(id("a"), off(5));
  EXPECT_FALSE(book.next());
  EXPECT_FALSE(book.idle());
  book.done(first->device, true);
  EXPECT_NE(publish().find("false"), std::string::npos);
  EXPECT_TRUE(book.idle());
}

TEST_F(Book, PublishesAgainWhatALostConnectionLeftOpen) {
  book.apply(id("a"), on(5));
  book.apply(id("b"), on(6));
  ASSERT_TRUE(book.next());
  book.lost_all();
  EXPECT_NE(publish(), "");
  EXPECT_NE(publish(), "");
  EXPECT_EQ(publish(), "");
}

TEST_F(Book, HoldsBackAfterARefusalUntilToldToRetry) {
  book.apply(id("a"), on(5));
  book.apply(id("b"), on(6));
  const auto update = book.next();
  book.done(update->device, false);
  EXPECT_TRUE(book.has_refused());
  EXPECT_FALSE(book.next());
  book.retry_refused();
  EXPECT_NE(publish(), "");
  EXPECT_NE(publish(), "");
  EXPECT_EQ(publish(), "");
}

TEST_F(Book, AssertsItselfOverAnOlderEpochOrAnEmptyTopic) {
  book.apply(id("a"), on(5));
  publish();
  book.seen(id("a"), kept(true, 4, "gw-2", "x"), false, 0);
  EXPECT_NE(publish().find("\"epoch\":\"5\""), std::string::npos);
  book.seen(id("a"), std::nullopt, false, 0);
  EXPECT_NE(publish().find("\"epoch\":\"5\""), std::string::npos);
  book.seen(id("a"), kept(false, 5, "gw-1", "b2"), true, 0);
  EXPECT_NE(publish(), "") << "an old state came back with the broker";
  book.seen(id("a"), kept(true, 5, "gw-1", "b2"), true, 0);
  EXPECT_EQ(publish(), "") << "that is what we hold";
}

TEST_F(Book, TakesItsOwnEchoForNothing) {
  book.apply(id("a"), on(5));
  publish();
  book.apply(id("a"), off(5));
  publish();
  book.seen(id("a"), kept(true, 5), false, 0);
  EXPECT_EQ(publish(), "");
}

TEST_F(Book, YieldsToALargerEpochElsewhereForGood) {
  book.apply(id("a"), on(5));
  publish();
  book.seen(id("a"), kept(true, 9, "gw-2", "x"), false, 0);
  EXPECT_EQ(publish(), "");
  book.apply(id("a"), off(5));
  EXPECT_EQ(publish(), "") << "our late disconnect must not overwrite its connect";
  book.republish_all();
  EXPECT_EQ(publish(), "");
  book.apply(id("a"), on(10));
  EXPECT_NE(publish().find("\"epoch\":\"10\""), std::string::npos);
}

TEST_F(Book, SetsOfflineWhatAnEarlierBootLeftOnline) {
  book.seen(id("a"), kept(true, 7, "gw-1", "b1"), true, 99);
  EXPECT_EQ(publish(),
            R"({"online":false,"epoch":"7","node":"gw-1","boot_id":"b2","since_ms":99,"reason":"node_restarted"})");
  book.seen(id("b"), kept(false, 7, "gw-1", "b1"), true, 99);
  book.seen(id("c"), kept(true, 7, "gw-2", "b1"), true, 99);
  EXPECT_EQ(publish(), "") << "offline, or another node's: not ours to correct";
}

TEST_F(Book, RepublishesEverythingWhenTheBrokerHasForgotten) {
  for (int i = 0; i < 5; ++i) book.apply(id("d" + std::to_string(i)), on(5));
  while (!publish().empty()) {
  }
  book.republish_all();
  int count = 0;
  while (!publish().empty()) ++count;
  EXPECT_EQ(count, 5);
}

TEST(PresenceBook, ForgetsTheOfflineFirstWhenFullAndCounts) {
  PresenceBook book("gw-1", "b2", 16);
  for (int i = 0; i < 15; ++i) book.apply(id("on" + std::to_string(i)), on(5));
  book.apply(id("off"), off(5));
  book.apply(id("new"), on(6));
  EXPECT_EQ(book.size(), 16U);
  EXPECT_EQ(book.dropped(), 1U);
  int published = 0;
  bool online_all = true;
  while (auto update = book.next()) {
    ++published;
    online_all = online_all && update->payload.find("\"online\":true") != std::string::npos;
    book.done(update->device, true);
  }
  EXPECT_EQ(published, 16);
  EXPECT_TRUE(online_all);
  book.apply(id("newer"), on(6));
  EXPECT_EQ(book.size(), 16U) << "nobody offline is left to go";
  EXPECT_EQ(book.dropped(), 2U);
}

// Of a device that another node let in while it was awaited here, nothing was said here.
TEST(PresenceBook, ForgetsWhatAnotherNodeHasNowBeforeAnybodyWhoIsOnlineHere) {
  PresenceBook book("gw-1", "b2", 2);
  for (const char* name : {"moved", "here"}) {
    book.apply(id(name), on(5));
    const auto update = book.next();
    ASSERT_TRUE(update);
    book.done(update->device, true);
  }
  book.seen(id("moved"), kept(true, 9, "gw-2", "x"), false, 0);
  book.apply(id("new"), on(6));
  const auto update = book.next();
  ASSERT_TRUE(update);
  EXPECT_EQ(update->device, id("new"));
  book.seen(id("here"), std::nullopt, false, 0);
  book.seen(id("moved"), std::nullopt, false, 0);
  const auto again = book.next();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->device, id("here")) << "and it is still looked after";
  EXPECT_FALSE(book.next());
}

TEST(PresenceJson, ReadsWhatItWrites) {
  const auto read = parse_presence(write_presence(off(k_epoch_max), "gw-1", "b2"));
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->online);
  EXPECT_EQ(read->epoch.value, k_epoch_max);
  EXPECT_EQ(read->node, "gw-1");
  EXPECT_EQ(read->boot_id, "b2");
  EXPECT_EQ(read->since_unix_ms, 20);
  const auto node = parse_node_state(write_node_state({true, "gw-1", "b2", 7, "1.0", ""}));
  ASSERT_TRUE(node);
  EXPECT_TRUE(node->online);
  EXPECT_EQ(node->since_unix_ms, 7);
}

TEST(PresenceJson, RefusesWhatNoNodeWouldWrite) {
  const std::string good = write_presence(on(5), "gw-1", "b2");
  ASSERT_TRUE(parse_presence(good));
  for (std::size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(parse_presence(good.substr(0, cut)));
  for (const char* text : {R"([])", R"({"online":1,"epoch":"5","node":"a","boot_id":"b","since_ms":1})",
                           R"({"online":true,"epoch":5,"node":"a","boot_id":"b","since_ms":1})",
                           R"({"online":true,"epoch":"-5","node":"a","boot_id":"b","since_ms":1})",
                           R"({"online":true,"epoch":"9007199254740992","node":"a","boot_id":"b","since_ms":1})",
                           R"({"online":true,"epoch":"5","node":"a/b","boot_id":"b","since_ms":1})",
                           R"({"online":true,"epoch":"5","node":"a","boot_id":"","since_ms":1})",
                           R"({"online":true,"epoch":"5","node":"a","boot_id":"b","since_ms":"1"})"}) {
    EXPECT_FALSE(parse_presence(text)) << text;
  }
  EXPECT_FALSE(parse_presence(good + std::string(k_retained_bytes_max, ' ')));
}

}  // namespace
}  // namespace fieldgate::mqtt
