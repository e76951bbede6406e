// SPDX-License-Identifier: Apache-2.0
//
// A broker that lets the lane in, and then means harm, or has lost its mind.
#include "tests/integration/mqtt/lane_fixture.h"
#include "tests/integration/mqtt/scripted_broker.h"

#include <array>
#include <random>
#include <string_view>

// What the library had read of a packet with a property that it does not know, it has lost:
// adapters/mqtt/library_fault.h.
extern "C" const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier,cert-*)
extern "C" const char* __lsan_default_suppressions() { return "leak:libmosquitto.so"; }  // NOLINT

namespace fieldgate::mqtt {
namespace {

using namespace std::string_literals;

constexpr unsigned k_publish = 3;
constexpr unsigned k_subscribe = 8;

unsigned type_of(std::string_view packet) { return static_cast<unsigned char>(packet.front()) >> 4; }

std::string packet(char first, std::string_view body) {
  return std::string(1, first) + static_cast<char>(body.size()) + std::string(body);
}

std::string puback(std::string_view id) { return packet('\x40', id); }

bool is_batch(std::string_view read) {
  return type_of(read) == k_publish && topic_of(read).find("/batches/") != std::string_view::npos;
}

struct Word {
  std::string_view what;
  std::string bytes;
};

struct Hostile : LaneFixture {
  // Records that are to survive all of it.
  void begin() {
    start(settings(broker.port()));
    feed_telemetry(3, 5);
  }
  // Lets the lane in, and gives the packet id of the first records that it sends.
  void welcome(std::string& id) {
    ASSERT_NO_FATAL_FAILURE(broker.accept());
    ASSERT_EQ(broker.next().substr(0, 1), "\x10");  // CONNECT
    ASSERT_TRUE(broker.send(k_connack));
    for (;;) {
      const std::string read = broker.next();
      ASSERT_FALSE(read.empty()) << log.all();
      if (!is_batch(read)) continue;
      id = id_of(read);
      return;
    }
  }
  // A good broker at last: nothing that it takes had been taken for done before.
  void expect_all_arrive() {
    EXPECT_EQ(feed.through(), 0U);
    ASSERT_NO_FATAL_FAILURE(broker.accept());
    ASSERT_EQ(broker.next().substr(0, 1), "\x10");
    ASSERT_TRUE(broker.send(k_connack));
    std::size_t records = 0;
    const auto deadline = std::chrono::steady_clock::now() + k_patience;
    while (feed.through() < feed.last() && std::chrono::steady_clock::now() < deadline) {
      const std::string read = broker.next(milliseconds(20));
      if (read.empty()) continue;
      if (type_of(read) == k_subscribe) broker.send(suback_to(read));
      if (type_of(read) != k_publish) continue;
      if (is_batch(read)) {
        v1::RecordBatch batch;
        // Behind its id are its properties, of fewer than 128 bytes.
        const std::size_t at = 3 + topic_of(read).size() + 2;
        ASSERT_TRUE(batch.ParseFromString(read.substr(at + 1 + static_cast<unsigned char>(read.at(at)))));
        records += static_cast<std::size_t>(batch.records_size());
      }
      broker.send(puback(id_of(read)));
    }
    EXPECT_EQ(feed.through(), feed.last()) << log.all();
    EXPECT_EQ(records, feed.last());
    EXPECT_EQ(feed.outcome().forwarded, feed.last());
    EXPECT_EQ(feed.outcome().dead_lettered, 0U);
  }

  ScriptedBroker broker;
};

TEST_F(Hostile, IsLeftWhenItBreaksTheProtocolAndNothingCountsAsForwarded) {
  begin();
  // "ID": the packet id of records under way.
  const auto words = std::to_array<Word>({
      {"a PUBACK without a packet id", "\x40\x00"s},
      {"a PUBACK of half a packet id", "\x40\x01\x05"s},
      {"a PUBACK of packet id 0", "\x40\x02\x00\x00"s},
      {"a PUBACK whose properties are longer than it", "\x40\x04ID\x00\x7F"s},
      {"a PUBREC of QoS 1", "\x50\x02ID"s},
      {"a PUBCOMP of QoS 1", "\x70\x02ID"s},
      {"a SUBACK without a packet id", "\x90\x00"s},
      {"a SUBACK of nothing", "\x90\x03\x00\x01\x00"s},
      {"a SUBACK whose properties are longer than it", "\x90\x03\x00\x01\x7F"s},
      {"a PUBLISH whose topic is longer than it",
       "\x30\x05\x00\x64"
       "abc"s},
      {"a PUBLISH with a topic of bad UTF-8", "\x30\x05\x00\x02\xC3\x28\x00"s},
      {"a PUBLISH with NUL in its topic",
       "\x30\x06\x00\x03"
       "a\x00"
       "b\x00"s},
      {"a PUBLISH of QoS 3",
       "\x36\x06\x00\x01"
       "a\x00\x05\x00"s},
      {"a PUBLISH without a topic, by a huge alias", "\x30\x06\x00\x00\x03\x23\xFF\xFF"s},
      {"a PUBLISH with a topic alias, of which it may have none",
       "\x30\x07\x00\x01"
       "a\x03\x23\x00\x01"s},
      {"a PUBLISH with a property that there is not",
       "\x30\x07\x00\x01"
       "a\x03\x7F\x00\x01"s},
      {"a PUBACK with a property that there is not", "\x40\x06ID\x00\x02\x7F\x01"s},
      {"a PUBLISH with a property of another packet",
       "\x30\x07\x00\x01"
       "a\x03\x21\x00\x01"s},
      {"a PUBLISH whose properties are longer than it",
       "\x30\x04\x00\x01"
       "a\x7F"s},
      {"a PUBLISH with a user property of bad UTF-8",
       "\x30\x0B\x00\x01"
       "a\x07\x26\x00\x01\xFF\x00\x01"
       "b"s},
      {"a remaining length of five bytes", "\x30\xFF\xFF\xFF\xFF\x01"s},
      {"a SUBSCRIBE",
       "\x82\x07\x00\x05\x00\x00\x01"
       "a\x01"s},
      {"a CONNECT", "\x10\x0D\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x00"s},
      {"packet type 0", "\x00\x00"s},
      {"a DISCONNECT", "\xE0\x00"s},
      {"a packet of 256 MB, the half of one per cent of it", "\x30\xFF\xFF\xFF\x7F"s + std::string(2 << 20, 'x')},
  });
  for (const Word& word : words) {
    SCOPED_TRACE(word.what);
    std::string id;
    ASSERT_NO_FATAL_FAILURE(welcome(id));
    std::string bytes = word.bytes;
    if (const std::size_t at = bytes.find("ID"); at != std::string::npos) bytes.replace(at, 2, id);
    broker.send(bytes);
    // Long before its silence would have been noticed, which takes one and a half times keep_alive.
    EXPECT_TRUE(broker.ended(seconds(3))) << log.all();
    EXPECT_EQ(probe.pubacks.get(), 0U);
  }
  expect_all_arrive();
}

TEST_F(Hostile, MayNameWhatWasNeverSentAndIsNotHeard) {
  begin();
  std::string id;
  ASSERT_NO_FATAL_FAILURE(welcome(id));
  const std::string unknown = "\x7F\xFE"s;
  const auto words = std::to_array<Word>({
      {"a PUBACK", puback(unknown)},
      {"a PUBACK that refuses", packet('\x40', unknown + "\x87")},
      {"a PUBREC", packet('\x50', unknown)},
      {"a PUBREC that refuses, of QoS 1", packet('\x50', id + "\x87")},
      {"a PUBCOMP", packet('\x70', unknown)},
      {"a SUBACK", packet('\x90', unknown + "\x00\x01"s)},
      {"a SUBACK with flags", packet('\x93', unknown + "\x00\x01"s)},
      {"a SUBACK of a PUBLISH", packet('\x90', id + "\x00\x87"s)},
      {"an UNSUBACK", packet('\xB0', unknown + "\x00\x00"s)},
      {"a PINGRESP", "\xD0\x00"s},
      {"a message on a topic that nobody has subscribed to", packet('\x30',
                                                                    "\x00\x01"
                                                                    "a\x00"
                                                                    "xyz"s)},
      {"a message to a filter", packet('\x30',
                                       "\x00\x03"
                                       "a/#\x00"s)},
      {"garbage for presence", packet('\x30',
                                      "\x00\x17"
                                      "fg/devices/dev/presence\x00{\"online\": 1e99"s)},
  });
  char number = 1;
  for (const Word& word : words) {
    SCOPED_TRACE(word.what);
    // Behind it comes a message that the lane confirms: by then it has read what came before.
    const std::string mark = {'\x7E', number++};
    ASSERT_TRUE(broker.send(word.bytes + packet('\x32',
                                                "\x00\x01"
                                                "a"s +
                                                    mark + "\x00"s)));
    std::string read;
    do {
      read = broker.next();
      ASSERT_TRUE(!read.empty() || eventually([&] { return probe.disconnects.get() > 0; }));
      ASSERT_FALSE(read.empty()) << lane->status().last_error;
    } while (read != "\x40" + mark);
  }
  EXPECT_EQ(feed.through(), 0U);
  EXPECT_EQ(probe.disconnects.get(), 0U) << log.all();
  EXPECT_EQ(probe.pubacks.get(), 0U);
  // Twice the same is once.
  broker.send(puback(id) + puback(id));
  EXPECT_TRUE(eventually([&] { return probe.pubacks.get() > 0; }));
  broker.hang_up();
  EXPECT_TRUE(eventually([&] { return probe.disconnects.get() == 1; }));
  EXPECT_EQ(probe.pubacks.get(), 1U);
}

TEST_F(Hostile, MaySayAnythingAtRandom) {
  begin();
  std::mt19937 random(20'260'301);
  const auto below = [&random](unsigned bound) { return static_cast<std::size_t>(random() % bound); };
  const auto noise = [&](std::size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() & 0xFF);
    return bytes;
  };
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    std::string id;
    ASSERT_NO_FATAL_FAILURE(welcome(id));
    if (round % 4 == 0) {
      broker.send(noise(1 + below(2'000)));
    } else {
      // Whole packets, of whose insides nothing need be right.
      for (int i = 0; i < 8; ++i) {
        const auto first = static_cast<char>(1 + below(255));
        std::string body = noise(2 + below(100));
        if (type_of({&first, 1}) == k_publish) {
          body[0] = '\0';  // a topic that ends before the packet does, mostly
          body[1] = static_cast<char>(below(4));
        } else {
          body[0] = static_cast<char>(body[0] | '\x40');  // no packet id that is under way
        }
        if (!broker.send(packet(first, body))) break;
      }
    }
    broker.hang_up();
    ASSERT_EQ(feed.through(), 0U);
  }
  expect_all_arrive();
}

}  // namespace
}  // namespace fieldgate::mqtt
