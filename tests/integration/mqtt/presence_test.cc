// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/mqtt/lane_fixture.h"
#include "tests/support/tcp_proxy.h"

#include <thread>

// The retained view: who is online, and which node says so.
namespace fieldgate::mqtt {
namespace {

constexpr const char* k_node = "fg/nodes/gw-1";

struct Presence : LaneFixture {
  static DeviceId id(std::string_view text) { return DeviceId::parse(text).value(); }
  static auto holds(std::string text) {
    return [text = std::move(text)](const RecordingSubscriber::Message& message) {
      return message.payload.find(text) != std::string::npos;
    };
  }
  static RecordingSubscriber::Options view(const MosquittoBroker& broker, std::string client_id = "viewer") {
    return {broker.port(), std::move(client_id), {"fg/nodes/#", "fg/devices/+/presence"}};
  }
};

TEST_F(Presence, IsRetainedForWhoComesLater) {
  MosquittoBroker broker;
  start(settings(broker.port()));
  lane->publish(id("pump-7"), {true, {42}, 17, ""});
  lane->publish(id("pump-8"), {false, {43}, 18, "heartbeat_lost"});
  ASSERT_TRUE(eventually([this] { return probe.presence_publishes.get() == 2 && probe.in_flight.load() == 0; }));
  const RecordingSubscriber late(view(broker));
  EXPECT_TRUE(late.wait_last("fg/devices/pump-7/presence", [](const auto& message) {
    return message.retained && message.content_type == "application/json" && message.payload_format == 1 &&
           message.payload == R"({"online":true,"epoch":"42","node":"gw-1","boot_id":"boot-1","since_ms":17})";
  }));
  EXPECT_TRUE(late.wait_last("fg/devices/pump-8/presence", holds(R"("reason":"heartbeat_lost")")));
  EXPECT_TRUE(late.wait_last(k_node, holds(R"({"online":true,"node":"gw-1","boot_id":"boot-1")")));
  EXPECT_TRUE(late.wait_last(k_node, holds(R"("version":"0.1.0")")));
}

TEST_F(Presence, GoesOfflineInGoodOrderWhenStopped) {
  MosquittoBroker broker;
  const RecordingSubscriber viewer(view(broker));
  start(settings(broker.port()));
  ASSERT_TRUE(viewer.wait_last(k_node, holds(R"("online":true)")));
  lane->publish(id("pump-7"), {false, {42}, 17, "drain"});
  lane->stop(k_patience);
  EXPECT_TRUE(viewer.wait_last("fg/devices/pump-7/presence", holds(R"("reason":"drain")")));
  EXPECT_TRUE(viewer.wait_last(k_node, holds(R"("reason":"stopped")")));
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_TRUE(viewer.wait_last(k_node, holds(R"("reason":"stopped")"))) << "and no Will after it";
}

TEST_F(Presence, TakesTheNodeOfflineByItsWillAfterTheDelay) {
  MosquittoBroker broker;
  const RecordingSubscriber viewer(view(broker));
  test::TcpProxy line(broker.port());
  auto with = settings(line.port());
  with.will_delay = seconds(2);
  start(with);
  EXPECT_TRUE(viewer.wait_last(k_node, holds(R"("online":true)")));
  line.cut();
  const auto died = std::chrono::steady_clock::now();
  EXPECT_TRUE(viewer.wait_last(k_node, holds(R"("reason":"connection_lost")")));
  EXPECT_GE(std::chrono::steady_clock::now() - died, milliseconds(900));
}

TEST_F(Presence, SparesTheWillOfANodeThatIsBackInTime) {
  MosquittoBroker broker;
  const RecordingSubscriber viewer(view(broker));
  test::TcpProxy line(broker.port());
  auto with = settings(line.port());
  with.will_delay = seconds(6);
  start(with);
  EXPECT_TRUE(viewer.wait_last(k_node, holds("boot-1")));
  line.cut();
  ASSERT_TRUE(eventually([this] { return probe.disconnects.get() == 1; }));
  with.port = broker.port();
  start(with, "boot-2");
  EXPECT_TRUE(viewer.wait_last(k_node, holds("boot-2")));
  std::this_thread::sleep_for(milliseconds(7'500));
  for (const auto& message : viewer.messages()) {
    EXPECT_EQ(message.payload.find("connection_lost"), std::string::npos) << message.payload;
  }
}

TEST_F(Presence, IsAssertedAgainAfterTheBrokerCameBackEmpty) {
  MosquittoBroker broker;  // without persistence
  start(settings(broker.port()));
  for (int i = 0; i < 300; ++i) lane->publish(id("d" + std::to_string(i)), {true, {42}, 17, ""});
  ASSERT_TRUE(eventually([this] { return probe.presence_publishes.get() == 300 && probe.in_flight.load() == 0; }));
  broker.kill();
  ASSERT_TRUE(eventually([this] { return state() != LaneState::running; }));
  broker.start();
  const RecordingSubscriber viewer(view(broker));
  EXPECT_TRUE(viewer.wait([](const auto& messages) { return messages.size() >= 301; }, k_patience)) << log.all();
  EXPECT_TRUE(log.has("mqtt_broker_forgot_us"));
}

TEST_F(Presence, IsNotRepublishedWhenTheBrokerKeptIt) {
  MosquittoBroker broker({.persistence = true});
  start(settings(broker.port()));
  lane->publish(id("pump-7"), {true, {42}, 17, ""});
  ASSERT_TRUE(eventually([this] { return probe.presence_publishes.get() == 1 && probe.in_flight.load() == 0; }));
  broker.stop();
  ASSERT_TRUE(eventually([this] { return state() != LaneState::running; }));
  broker.start();
  ASSERT_TRUE(running());
  std::this_thread::sleep_for(milliseconds(3'500));
  EXPECT_EQ(probe.presence_publishes.get(), 1U) << log.all();
}

TEST_F(Presence, CorrectsWhatAnEarlierBootLeftOnline) {
  MosquittoBroker broker;
  RecordingSubscriber viewer(view(broker));
  const std::string left = R"({"online":true,"epoch":"7","node":"gw-1","boot_id":"boot-0","since_ms":1})";
  viewer.publish("fg/devices/ghost/presence", left, true);
  viewer.publish("fg/devices/guest/presence", R"({"online":true,"epoch":"7","node":"gw-2","boot_id":"x","since_ms":1})",
                 true);
  ASSERT_TRUE(viewer.wait([](const auto& messages) { return messages.size() == 2; }));
  start(settings(broker.port()));
  EXPECT_TRUE(viewer.wait_last("fg/devices/ghost/presence", holds(R"("reason":"node_restarted")")));
  EXPECT_TRUE(viewer.wait_last("fg/devices/ghost/presence", holds(R"("epoch":"7")")));
  EXPECT_TRUE(viewer.wait_last("fg/devices/guest/presence", holds(R"("online":true)"))) << "another node's";
}

TEST_F(Presence, AssertsItsOwnOverAnOlderEpochAndYieldsToANewer) {
  MosquittoBroker broker;
  RecordingSubscriber viewer(view(broker));
  start(settings(broker.port()));
  lane->publish(id("pump-7"), {true, {42}, 17, ""});
  const std::string topic = "fg/devices/pump-7/presence";
  ASSERT_TRUE(viewer.wait_last(topic, holds(R"("epoch":"42")")));
  viewer.publish(topic, R"({"online":false,"epoch":"41","node":"gw-2","boot_id":"x","since_ms":1})", true);
  EXPECT_TRUE(viewer.wait([&](const auto& messages) {
    return messages.size() >= 4 && messages.back().payload.find(R"("epoch":"42")") != std::string::npos;
  }));
  viewer.publish(topic, R"({"online":true,"epoch":"50","node":"gw-2","boot_id":"x","since_ms":1})", true);
  ASSERT_TRUE(viewer.wait_last(topic, holds(R"("epoch":"50")")));
  // Long enough for our lane to have heard it, through a round trip of its own.
  lane->publish(id("marker"), {true, {1}, 17, ""});
  ASSERT_TRUE(viewer.wait_last("fg/devices/marker/presence", holds("gw-1")));
  lane->publish(id("pump-7"), {false, {42}, 18, "taken_over"});
  lane->publish(id("marker"), {false, {1}, 18, "bye"});
  ASSERT_TRUE(viewer.wait_last("fg/devices/marker/presence", holds("bye")));
  EXPECT_TRUE(viewer.wait_last(topic, holds(R"("epoch":"50")"))) << "a late disconnect overwrote a connect";
}

TEST_F(Presence, TakesNoNoticeOfWhatItCannotTrust) {
  MosquittoBroker broker;
  RecordingSubscriber viewer(view(broker));
  start(settings(broker.port()));
  lane->publish(id("pump-7"), {true, {42}, 17, ""});
  ASSERT_TRUE(viewer.wait_last("fg/devices/pump-7/presence", holds(R"("epoch":"42")")));
  viewer.publish("fg/devices/pump-7/presence", std::string(100'000, '{'), false);
  viewer.publish("fg/devices/pump-7/presence", "{\"online\":true,\"epoch\":\"99\"}", false);
  viewer.publish("fg/devices/.x/presence", "{}", false);
  viewer.publish(k_node, std::string("\0\xff", 2), false);
  ASSERT_TRUE(viewer.wait_last(k_node, [](const auto& message) { return message.payload.size() == 2; }));
  lane->publish(id("pump-7"), {false, {42}, 18, "bye"});
  EXPECT_TRUE(viewer.wait_last("fg/devices/pump-7/presence", holds(R"("reason":"bye")"))) << log.all();
  EXPECT_EQ(probe.disconnects.get(), 0U);
}

TEST_F(Presence, TakesAtMostAQuarterOfTheWindow) {
  MosquittoBroker broker;
  auto with = settings(broker.port());
  with.window_max = 20;
  start(with);
  ASSERT_TRUE(running());
  ASSERT_TRUE(eventually([this] { return probe.in_flight.load() == 0; }));
  broker.freeze();
  for (int i = 0; i < 100; ++i) lane->publish(id("d" + std::to_string(i)), {true, {42}, 17, ""});
  ASSERT_TRUE(eventually([this] { return probe.presence_publishes.get() == 5; }));
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_EQ(probe.presence_publishes.get(), 5U);
  broker.thaw();
  EXPECT_TRUE(eventually([this] { return probe.presence_publishes.get() == 100; }));
}

}  // namespace
}  // namespace fieldgate::mqtt
