// SPDX-License-Identifier: Apache-2.0
//
// What subscriptions come to, at a broker that answers when and as a test says.
#include "tests/integration/mqtt/lane_fixture.h"
#include "tests/integration/mqtt/scripted_broker.h"

namespace fieldgate::mqtt {
namespace {

class NoCommands final : public Commands {
 public:
  void submit(CommandRequest, Reply<Accepted>) override {}
  void get(const std::string&, Reply<CommandEntry>) override {}
  void wait(const std::string&, std::chrono::milliseconds, Reply<CommandEntry>) override {}
  void list(const DeviceId&, std::string, std::size_t, Reply<std::vector<CommandEntry>>) override {}
  void cancel(const std::string&, std::string, Reply<CommandEntry>) override {}
};

struct Subscribing : LaneFixture {
  // The lane goes before those that it borrows.
  ~Subscribing() override { lane.reset(); }
  NoCommands commands;
  PeerProbe peer_probe;
};

// libmosquitto reads as many packets at once as it has messages under way.
TEST_F(Subscribing, HearsEachAnswerThoughAllComeAtOnceAndInAnotherOrder) {
  ScriptedBroker broker;
  auto with = settings(broker.port());
  with.commands = true;
  with.response_topics = {"replies/#"};
  lane = make_mqtt_lane(with, {"gw-1", "boot-1", "0.1.0", 1}, clock, log, probe, dead_letters, &commands, &peer_probe)
             .value();
  lane->start(feed);
  ASSERT_NO_FATAL_FAILURE(broker.accept());
  ASSERT_EQ(broker.next().substr(0, 1), "\x10");  // CONNECT
  for (int i = 0; i < 10; ++i) feed_event("dev-1", "door");
  broker.send(k_connack);
  std::vector<std::string> answers;
  for (std::size_t published = 0; answers.size() < 3 || published < 10;) {
    const std::string packet = broker.next();
    ASSERT_FALSE(packet.empty());
    const unsigned type = static_cast<unsigned char>(packet[0]) >> 4;
    if (type == 8) answers.push_back(suback_to(packet, "/commands/"));
    if (type == 3) ++published;
  }
  broker.send(answers[2] + answers[0] + answers[1]);
  EXPECT_TRUE(eventually([&] { return lane->peers()->connected(); })) << log.all();
  EXPECT_TRUE(eventually([&] { return log.all().find("mqtt_subscribe_refused") != std::string::npos; }));
  EXPECT_NE(log.all().find("$share/fieldgate/fg/devices/+/commands/+"), std::string::npos) << log.all();
  EXPECT_EQ(log.all().find("fg/nodes/gw-1/inbox"), std::string::npos) << log.all();
}

// Two filters in one SUBSCRIBE, and a SUBACK that speaks of one.
TEST_F(Subscribing, TakesSilenceAboutAFilterForARefusal) {
  ScriptedBroker broker;
  start(settings(broker.port()));
  ASSERT_NO_FATAL_FAILURE(broker.accept());
  ASSERT_EQ(broker.next().substr(0, 1), "\x10");  // CONNECT
  broker.send(k_connack);
  std::string subscribe;
  while ((subscribe = broker.next()).substr(0, 1) != "\x82") ASSERT_FALSE(subscribe.empty());
  broker.send(std::string("\x90\x04") + subscribe.substr(1, 2) + std::string("\x00\x01", 2));
  EXPECT_TRUE(eventually([&] { return log.has("mqtt_subscribe_refused"); })) << log.all();
  EXPECT_TRUE(log.has("topic=fg/devices/+/presence")) << log.all();
  EXPECT_FALSE(log.has("topic=fg/nodes/gw-1")) << log.all();
}

}  // namespace
}  // namespace fieldgate::mqtt
