// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/in_flight.h"
#include "adapters/mqtt/reasons.h"
#include "tests/support/lane_fakes.h"

#include <gtest/gtest.h>

namespace fieldgate::mqtt {
namespace {

Message named(std::string topic, MessageKind kind = MessageKind::records) {
  Message message;
  message.kind = kind;
  message.topic = std::move(topic);
  return message;
}

TEST(InFlight, FindsAMessageByItsPacketIdWhateverTheOrder) {
  test::HandClock clock;
  InFlight in_flight;
  for (int id = 1; id <= 5; ++id) in_flight.add(id, named(std::to_string(id)), clock.now());
  EXPECT_EQ(in_flight.take(3)->message.topic, "3");
  EXPECT_FALSE(in_flight.take(3));
  EXPECT_FALSE(in_flight.take(99));
  EXPECT_EQ(in_flight.take(1)->message.topic, "1");
  EXPECT_EQ(in_flight.size(), 3U);
}

TEST(InFlight, CountsByKindAndDrainsInTheOrderOfPublishing) {
  test::HandClock clock;
  InFlight in_flight;
  in_flight.add(65'535, named("a"), clock.now());
  in_flight.add(1, named("b", MessageKind::presence), clock.now());
  in_flight.add(2, named("c"), clock.now());
  EXPECT_EQ(in_flight.count(MessageKind::records), 2U);
  EXPECT_EQ(in_flight.count(MessageKind::presence), 1U);
  const auto all = in_flight.drain();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].topic + all[1].topic + all[2].topic, "abc");
  EXPECT_EQ(in_flight.size(), 0U);
  EXPECT_EQ(in_flight.count(MessageKind::records), 0U);
}

TEST(Reasons, BlameTheMessageOnlyForWhatAnotherMessageWouldNotSuffer) {
  for (int code = 0x80; code <= 0xFF; ++code) {
    const bool message = code == 0x90 || code == 0x95 || code == 0x99;
    EXPECT_EQ(classify_refusal(static_cast<std::uint8_t>(code)), message ? Refusal::of_message : Refusal::of_lane);
  }
  EXPECT_EQ(describe_refusal(0x87), "not authorized (0x87): grant this client access in the broker's ACL");
}

}  // namespace
}  // namespace fieldgate::mqtt
