// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/command_gate.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

namespace fieldgate::mqtt {
namespace {

struct GateTest : testing::Test {
  static MqttLaneSettings settings() {
    MqttLaneSettings with;
    with.name = "main";
    with.response_topics = {"app/replies/#", "one"};
    return with;
  }
  static Incoming request(std::string topic = "fieldgate/v1/devices/d-1/commands/reboot") {
    Incoming message;
    message.topic = std::move(topic);
    message.payload = "now";
    message.response_topic = "app/replies/7";
    message.correlation_data = std::string("\x01\x00z", 3);
    return message;
  }
  CommandRequest taken(const Incoming& message) const {
    auto read = gate.read(message);
    EXPECT_TRUE(read && std::holds_alternative<CommandRequest>(*read));
    return std::get<CommandRequest>(*read);
  }
  RequestRefused refused(const Incoming& message) const {
    auto read = gate.read(message);
    EXPECT_TRUE(read && std::holds_alternative<RequestRefused>(*read));
    return std::get<RequestRefused>(*read);
  }

  Topics topics = Topics::make("fieldgate/v1", "gw").value();
  CommandGate gate{settings(), topics};
};

TEST_F(GateTest, SubscribesSharedSoThatOneNodeOfSeveralGetsEachRequest) {
  EXPECT_EQ(gate.subscription(), "$share/fieldgate/fieldgate/v1/devices/+/commands/+");
}

TEST_F(GateTest, ReadsARequestWhole) {
  Incoming message = request();
  message.expiry_seconds = 90;
  message.user_properties = {{"timeout_ms", "1500"}, {"at_most_once", "true"}, {"somebody's", "own"}};
  const CommandRequest read = taken(message);
  EXPECT_EQ(read.device.str(), "d-1");
  EXPECT_EQ(read.name, "reboot");
  EXPECT_EQ(read.payload.size(), 3u);
  EXPECT_EQ(read.ttl, std::chrono::seconds(90));
  EXPECT_EQ(read.timeout, std::chrono::milliseconds(1500));
  EXPECT_TRUE(read.at_most_once);
  EXPECT_EQ(read.idempotency_key, "mqtt:01007a");
  EXPECT_EQ(read.source, "mqtt:main");
  EXPECT_EQ(read.response_topic, "app/replies/7");
  EXPECT_EQ(read.correlation_data, message.correlation_data);
}

TEST_F(GateTest, TakesNothingButACommandTopic) {
  for (const char* topic : {"fieldgate/v1/devices/d-1/commands/", "fieldgate/v1/devices/d-1/commands/a/b",
                            "fieldgate/v1/devices/d 1/commands/a", "fieldgate/v1/devices//commands/a",
                            "other/devices/d-1/commands/a", "fieldgate/v1/devices/d-1/telemetry"}) {
    EXPECT_FALSE(gate.read(request(topic))) << topic;
  }
}

TEST_F(GateTest, CarriesNothingOutThatWasRetained) {
  Incoming message = request();
  message.retained = true;
  EXPECT_EQ(refused(message).code, "retained");
  EXPECT_FALSE(refused(message).reply);
}

TEST_F(GateTest, WantsCorrelationDataAndSaysSoWhereItMay) {
  Incoming message = request();
  message.correlation_data.clear();
  const RequestRefused told = refused(message);
  EXPECT_EQ(told.code, "correlation_data");
  ASSERT_TRUE(told.reply);
  EXPECT_EQ(told.reply->topic, "app/replies/7");
  const auto body = boost::json::parse(told.reply->payload).as_object();
  EXPECT_EQ(body.at("state"), "refused");
  EXPECT_EQ(body.at("code"), "correlation_data");
  message.correlation_data.assign(61, 'x');
  EXPECT_EQ(refused(message).code, "correlation_data");
}

TEST_F(GateTest, NeverWritesToATopicThatNobodyAllowed) {
  for (const char* topic :
       {"elsewhere", "fieldgate/v1/devices/d-2/commands/erase", "app/replies/+", "$SYS/x", "one/two", "app/\xff"}) {
    Incoming message = request();
    message.response_topic = topic;
    EXPECT_EQ(refused(message).code, "response_topic") << topic;
    EXPECT_FALSE(refused(message).reply) << topic;
  }
  Incoming message = request();
  message.response_topic = "one";
  EXPECT_EQ(taken(message).response_topic, "one");
  message.response_topic.clear();  // nobody wants to know
  EXPECT_EQ(taken(message).response_topic, "");
}

TEST_F(GateTest, RefusesPropertiesThatMakeNoSense) {
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"timeout_ms", "soon"}, {"timeout_ms", "0"}, {"timeout_ms", "4294967296"}, {"at_most_once", "maybe"}}) {
    Incoming message = request();
    message.user_properties = {{name, value}};
    EXPECT_EQ(refused(message).code, name) << value;
  }
}

TEST_F(GateTest, RepliesWithWhereTheCommandStands) {
  CommandEntry command{"c1", *DeviceId::parse("d-1"), "reboot"};
  command.response_topic = "app/replies/7";
  command.correlation_data = "abc";
  command.state = CommandState::succeeded;
  command.steps = {{CommandState::queued, 1, {}, ""}, {CommandState::succeeded, 5, Epoch{9}, ""}};
  command.result_text = "fine";
  for (const char c : std::string(R"({"a":1})")) command.result_payload.push_back(static_cast<std::byte>(c));
  const Message reply = gate.reply(command);
  EXPECT_EQ(reply.kind, MessageKind::reply);
  EXPECT_EQ(reply.correlation_data, "abc");
  EXPECT_FALSE(reply.retain);
  const auto body = boost::json::parse(reply.payload).as_object();
  EXPECT_EQ(body.at("state"), "succeeded");
  EXPECT_EQ(body.at("epoch"), "9");
  EXPECT_EQ(body.at("result").at("text"), "fine");
  EXPECT_EQ(body.at("result").at("payload").at("a"), 1);
  EXPECT_EQ(body.at("result").at("payload_base64"), "eyJhIjoxfQ==");

  // JSON, but of a number that could only be written as what is none.
  command.result_payload.clear();
  for (const char c : std::string("[1e999]")) command.result_payload.push_back(static_cast<std::byte>(c));
  const auto huge = boost::json::parse(gate.reply(command).payload).as_object();
  EXPECT_TRUE(huge.at("result").at("payload").is_null());
  EXPECT_EQ(huge.at("result").at("payload_base64"), "WzFlOTk5XQ==");
}

TEST(ReplyQueue, DropsTheOldestWhenItIsFullAndKeepsTheOrder) {
  ReplyQueue queue;
  std::size_t dropped = 0;
  for (std::size_t i = 0; i < ReplyQueue::k_replies_max + 3; ++i) {
    Message reply;
    reply.payload = std::to_string(i);
    dropped += queue.push(std::move(reply));
  }
  EXPECT_EQ(dropped, 3u);
  auto first = queue.take();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->payload, "3");
  queue.push_front(std::move(*first));
  EXPECT_EQ(queue.take()->payload, "3");
  EXPECT_EQ(queue.take()->payload, "4");
}

TEST(ReplyQueue, HoldsNoMoreBytesThanItMay) {
  ReplyQueue queue;
  for (int i = 0; i < 3; ++i) {
    Message reply;
    reply.payload.assign(ReplyQueue::k_bytes_max / 2, static_cast<char>('a' + i));
    queue.push(std::move(reply));
  }
  EXPECT_EQ(queue.take()->payload[0], 'b');
  EXPECT_EQ(queue.take()->payload[0], 'c');
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace fieldgate::mqtt
