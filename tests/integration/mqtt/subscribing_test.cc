// SPDX-License-Identifier: Apache-2.0
//
// What subscriptions come to, at a broker that answers when and as a test says.
#include "tests/integration/mqtt/lane_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fieldgate::mqtt {
namespace {

// Reads MQTT 5 packets of one client; writes what it is told.
class ScriptedBroker {
 public:
  ScriptedBroker() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~ScriptedBroker() {
    if (peer_ >= 0) ::close(peer_);
    ::close(listener_);
  }
  std::uint16_t port() const { return port_; }

  void accept() {
    pollfd ready{listener_, POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1) << "nobody connects";
    peer_ = ::accept(listener_, nullptr, nullptr);
  }
  void send(const std::string& bytes) const { EXPECT_GT(::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0); }
  // The next packet without its remaining length; empty: there is none.
  std::string next() {
    for (;;) {
      std::size_t length = 0;
      std::size_t at = 1;
      for (int shift = 0; at < in_.size(); shift += 7) {
        const auto byte = static_cast<unsigned char>(in_[at++]);
        length |= static_cast<std::size_t>(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
          if (in_.size() < at + length) break;
          std::string packet = in_.substr(0, 1) + in_.substr(at, length);
          in_.erase(0, at + length);
          return packet;
        }
      }
      pollfd ready{peer_, POLLIN, 0};
      char buffer[4'096];
      if (::poll(&ready, 1, 60'000) != 1) return {};
      const ssize_t got = ::recv(peer_, buffer, sizeof buffer, 0);
      if (got <= 0) return {};
      in_.append(buffer, static_cast<std::size_t>(got));
    }
  }

 private:
  int listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int peer_ = -1;
  std::uint16_t port_ = 0;
  std::string in_;
};

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

// SUBACK to the packet `subscribe`: what is refused is whatever contains `refused`.
std::string suback_to(const std::string& subscribe, std::string_view refused) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(subscribe.at(at)); };
  std::string answer = subscribe.substr(1, 2) + '\0';  // its packet id, no properties
  for (std::size_t at = 4; at < subscribe.size();) {   // after the properties, of which it has none
    const std::size_t size = byte(at) * 256U + byte(at + 1);
    const bool taken = subscribe.substr(at + 2, size).find(refused) == std::string::npos;
    answer += taken ? '\x01' : '\x87';
    at += 2 + size + 1;
  }
  return std::string("\x90") + static_cast<char>(answer.size()) + answer;
}

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
  broker.send({"\x20\x03\x00\x00\x00", 5});  // CONNACK
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

}  // namespace
}  // namespace fieldgate::mqtt
