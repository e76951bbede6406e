// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/topics.h"

#include "tests/support/northbound_records.h"

#include <gtest/gtest.h>
#include <mosquitto.h>

#include <random>

namespace fieldgate::mqtt {
namespace {

using test::OwnedRecord;

Topics make() { return Topics::make("fieldgate/v1", "gw-1").value(); }

TEST(Topics, FollowTheDocumentedLayout) {
  const Topics topics = make();
  OwnedRecord record{"pump-7", "overheat", "", RecordKind::telemetry};
  EXPECT_EQ(topics.record(record.view()), "fieldgate/v1/devices/pump-7/telemetry");
  record.kind = RecordKind::event;
  EXPECT_EQ(topics.record(record.view()), "fieldgate/v1/devices/pump-7/events/overheat");
  record.kind = RecordKind::state;
  EXPECT_EQ(topics.record(record.view()), "fieldgate/v1/devices/pump-7/state");
  record.kind = RecordKind::opaque;
  EXPECT_EQ(topics.record(record.view()), "fieldgate/v1/devices/pump-7/opaque/overheat");
  record.kind = RecordKind::command_reply;
  EXPECT_EQ(topics.record(record.view()), "fieldgate/v1/devices/pump-7/replies");
  record.kind = RecordKind::presence;
  EXPECT_EQ(topics.record(record.view()), "fieldgate/v1/devices/pump-7/presence/events");
  EXPECT_EQ(topics.batch(3), "fieldgate/v1/batches/3");
  EXPECT_EQ(topics.node(), "fieldgate/v1/nodes/gw-1");
  EXPECT_EQ(topics.presence(DeviceId::parse("pump-7").value()), "fieldgate/v1/devices/pump-7/presence");
}

// Whatever a device or name consists of: either it is refused, or the topic has
// exactly the levels that we gave it, and a broker would take it.
TEST(Topics, RefuseEveryNameThatIsNotOneHarmlessLevel) {
  const Topics topics = make();
  std::mt19937 random(4711);
  const std::string alphabet("abcXYZ019._:-+#/$ \0\n\x7f\x80\xc3\xa9\xed\xa0\x80", 28);
  std::size_t taken = 0;
  for (int i = 0; i < 200'000; ++i) {
    const auto text = [&] {
      std::string result;
      const std::size_t size = random() % (i % 50 == 0 ? 140 : 5);
      while (result.size() < size) result.push_back(alphabet[random() % alphabet.size()]);
      return result;
    };
    OwnedRecord record{text(), text(), "", static_cast<RecordKind>(random() % k_record_kinds)};
    const bool named = record.kind == RecordKind::event || record.kind == RecordKind::opaque;
    const auto topic = topics.record(record.view());
    ASSERT_EQ(topic.has_value(), is_valid_name(record.device) && (!named || is_valid_name(record.name)));
    if (!topic) continue;
    ++taken;
    ASSERT_EQ(mosquitto_pub_topic_check2(topic->data(), topic->size()), MOSQ_ERR_SUCCESS) << *topic;
    ASSERT_EQ(mosquitto_validate_utf8(topic->data(), static_cast<int>(topic->size())), MOSQ_ERR_SUCCESS);
    ASSERT_EQ(std::ranges::count(*topic, '/'), (named || record.kind == RecordKind::presence) ? 5 : 4) << *topic;
    ASSERT_TRUE(topic->starts_with("fieldgate/v1/devices/" + record.device + "/"));
  }
  EXPECT_GT(taken, 1'000U);
}

TEST(Topics, ReadBackTheDeviceOfItsPresenceTopicAlone) {
  const Topics topics = make();
  EXPECT_EQ(topics.parse_presence("fieldgate/v1/devices/pump-7/presence")->str(), "pump-7");
  for (const char* topic :
       {"", "fieldgate/v1/devices/presence", "fieldgate/v1/devices//presence", "fieldgate/v1/devices/a/b/presence",
        "fieldgate/v1/devices/+/presence", "fieldgate/v1/devices/pump-7/presence/events",
        "other/v1/devices/pump-7/presence", "fieldgate/v1/devices/.x/presence", "fieldgate/v1/nodes/gw-1"}) {
    EXPECT_FALSE(topics.parse_presence(topic)) << topic;
  }
}

TEST(Topics, RefusePrefixesThatWouldNotBeOne) {
  for (const char* prefix : {"", "/a", "a/", "a//b", "a/+", "#", "$SYS", "a b", "caf\xc3\xa9", "a\tb"}) {
    EXPECT_FALSE(Topics::make(prefix, "gw-1")) << prefix;
  }
  EXPECT_FALSE(Topics::make(std::string(257, 'a'), "gw-1"));
  EXPECT_FALSE(Topics::make("a", "gw/1"));
  EXPECT_TRUE(Topics::make("site-1/line_2/$x", "gw-1"));
}

}  // namespace
}  // namespace fieldgate::mqtt
