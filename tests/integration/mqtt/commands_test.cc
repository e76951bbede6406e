// SPDX-License-Identifier: Apache-2.0
//
// Commands over a real broker, asked for by mosquitto's own request/response client.
#include "gateway/core/mutex.h"
#include "tests/integration/mqtt/lane_fixture.h"

#include <boost/json.hpp>

#include <array>
#include <cstdio>

namespace fieldgate::mqtt {
namespace {

// A ledger that takes everything, and ends what it is told to.
class FakeCommands final : public Commands {
 public:
  void submit(CommandRequest request, Reply<Accepted> reply) override {
    CommandEntry entry{"c-" + request.correlation_data, request.device, request.name};
    entry.payload = request.payload;
    entry.source = request.source;
    entry.response_topic = request.response_topic;
    entry.correlation_data = request.correlation_data;
    entry.steps = {{CommandState::queued, 1, {}, ""}};
    bool fresh = false;
    {
      const MutexLock lock(mutex_);
      fresh = entries_.emplace(request.idempotency_key, entry).second;
    }
    if (request.name == "unknown") return reply(make_error(Errc::not_found, "no such device"));
    reply(Accepted{entry, fresh});
  }
  void get(const std::string&, Reply<CommandEntry>) override {}
  void wait(const std::string&, std::chrono::milliseconds, Reply<CommandEntry>) override {}
  void list(const DeviceId&, std::string, std::size_t, Reply<std::vector<CommandEntry>>) override {}
  void cancel(const std::string&, std::string, Reply<CommandEntry>) override {}

  std::vector<CommandEntry> entries() {
    const MutexLock lock(mutex_);
    std::vector<CommandEntry> all;
    for (const auto& [key, entry] : entries_) all.push_back(entry);
    return all;
  }

 private:
  Mutex mutex_;
  std::map<std::string, CommandEntry> entries_ GUARDED_BY(mutex_);
};

// What mosquitto_rr prints: the first reply to a request.
std::string ask(std::uint16_t port, const std::string& topic, const std::string& reply_topic,
                const std::string& correlation, const std::string& more = "") {
  const std::string command = "mosquitto_rr -V mqttv5 -p " + std::to_string(port) + " -t " + topic + " -e " +
                              reply_topic + " -m payload -q 1 -W 30 -D publish correlation-data " + correlation + " " +
                              more + " 2>&1";
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  std::array<char, 4096> buffer{};
  while (::fgets(buffer.data(), buffer.size(), pipe) != nullptr) out += buffer.data();
  ::pclose(pipe);
  return out;
}

struct CommandsFixture : LaneFixture {
  // The lane goes before the ledger that it asks.
  ~CommandsFixture() override { lane.reset(); }
  MqttLaneSettings with(std::uint16_t port) {
    MqttLaneSettings made = settings(port);
    made.name = "main";
    made.commands = true;
    made.response_topics = {"replies/#"};
    return made;
  }
  void start_commands(std::uint16_t port) {
    lane =
        make_mqtt_lane(with(port), {"gw-1", "boot-1", "0.1.0", 1}, clock, log, probe, dead_letters, &commands).value();
    lane->start(feed);
    ASSERT_TRUE(running());
  }
  // The subscription is made once a request comes through.
  std::string ask_until_heard(std::uint16_t port, const std::string& correlation) {
    std::string answer;
    eventually([&] {
      answer = ask(port, "fg/devices/d-1/commands/ping", "replies/a", correlation, "-W 1");
      return answer.find("queued") != std::string::npos;
    });
    return answer;
  }

  FakeCommands commands;
};

TEST_F(CommandsFixture, TakesARequestAndSaysThatItIsQueuedThenWhatBecameOfIt) {
  MosquittoBroker broker;
  RecordingSubscriber replies({.port = broker.port(), .client_id = "replies", .filters = {"replies/#"}});
  start_commands(broker.port());
  const std::string answer = ask_until_heard(broker.port(), "abc");
  const auto body = boost::json::parse(answer).as_object();
  EXPECT_EQ(body.at("id"), "c-abc");
  EXPECT_EQ(body.at("state"), "queued");
  ASSERT_EQ(commands.entries().size(), 1u);
  EXPECT_EQ(commands.entries()[0].payload.size(), 7u);

  CommandEntry done = commands.entries()[0];
  done.state = CommandState::failed;
  done.steps.push_back({CommandState::failed, 2, Epoch{3}, ""});
  lane->command_changed(std::make_shared<const CommandEntry>(done));
  EXPECT_TRUE(eventually([&] {
    const auto all = replies.messages();
    return !all.empty() && all.back().payload.find("\"failed\"") != std::string::npos;
  }));
}

TEST_F(CommandsFixture, TellsARequesterThatRepeatsItselfWhereItsCommandStands) {
  MosquittoBroker broker;
  start_commands(broker.port());
  ask_until_heard(broker.port(), "same");
  const std::string again = ask(broker.port(), "fg/devices/d-1/commands/ping", "replies/b", "same");
  EXPECT_NE(again.find("c-same"), std::string::npos) << again;
  EXPECT_EQ(commands.entries().size(), 1u);
}

TEST_F(CommandsFixture, SaysWhyARequestIsRefused) {
  MosquittoBroker broker;
  start_commands(broker.port());
  ask_until_heard(broker.port(), "first");
  const std::string answer = ask(broker.port(), "fg/devices/d-1/commands/unknown", "replies/c", "x");
  EXPECT_NE(answer.find("device_not_found"), std::string::npos) << answer;
  const std::string wrong =
      ask(broker.port(), "fg/devices/d-1/commands/ping", "replies/c", "y", "-D publish user-property timeout_ms soon");
  EXPECT_NE(wrong.find("timeout_ms"), std::string::npos) << wrong;
  EXPECT_GE(probe.commands_refused.get(), 2u);
}

TEST_F(CommandsFixture, DeliversRepliesThatTheBrokerWasAwayFor) {
  MosquittoBroker broker({.persistence = true});
  const RecordingSubscriber replies({.port = broker.port(), .client_id = "replies", .filters = {"replies/#"}});
  start_commands(broker.port());
  ask_until_heard(broker.port(), "late");
  CommandEntry done = commands.entries()[0];
  done.state = CommandState::succeeded;
  broker.stop();
  ASSERT_TRUE(eventually([&] { return probe.disconnects.get() == 1; }));
  lane->command_changed(std::make_shared<const CommandEntry>(done));
  broker.start();
  EXPECT_TRUE(eventually([&] {
    const auto all = replies.messages();
    return !all.empty() && all.back().payload.find("\"succeeded\"") != std::string::npos;
  }));
}

}  // namespace
}  // namespace fieldgate::mqtt
