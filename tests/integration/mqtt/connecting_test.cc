// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/mqtt/lane_fixture.h"
#include "tests/support/pki.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

// TLS, accounts, and brokers that will not have us.
namespace fieldgate::mqtt {
namespace {

struct Connecting : LaneFixture {
  BrokerOptions tls_broker(const test::Identity& identity) {
    return {.certificate_file = dir.write("server.pem", identity.certificate),
            .key_file = dir.write("server.key", identity.key)};
  }
  MqttLaneSettings tls_settings(std::uint16_t port) {
    auto with = settings(port);
    with.tls.enabled = true;
    with.tls.ca_file = dir.write("ca.pem", authority.certificate());
    return with;
  }
  bool fails_with(std::string_view text) {
    return eventually([&] { return lane->status().last_error.find(text) != std::string::npos; });
  }
  const test::TempDir dir;
  const test::Authority authority;
};

TEST_F(Connecting, ForwardsOverTls) {
  MosquittoBroker broker(tls_broker(authority.server()));
  const RecordingSubscriber subscriber(
      {.port = broker.port(), .filters = {"fg/#"}, .ca_file = dir.write("ca.pem", authority.certificate())});
  start(tls_settings(broker.port()));
  feed_telemetry(10, 300);
  expect_all_in_order(subscriber);
  EXPECT_EQ(probe.connects.get(), 1U);
}

TEST_F(Connecting, ForwardsOverMutualTlsAndIsRefusedWithoutACertificate) {
  auto options = tls_broker(authority.server());
  options.client_ca_file = dir.write("clients.pem", authority.certificate());
  MosquittoBroker broker(options);
  start(tls_settings(broker.port()));
  EXPECT_TRUE(fails_with("certificate required")) << lane->status().last_error;
  lane->stop(seconds(0));

  const test::Identity client = authority.device("gw-1");
  auto with = tls_settings(broker.port());
  with.tls.certificate_file = dir.write("client.pem", client.certificate);
  with.tls.key_file = dir.write("client.key", client.key);
  start(with);
  EXPECT_TRUE(running()) << log.all();
}

TEST_F(Connecting, RefusesABrokerOfAnotherAuthorityAndNamesTheFileToCheck) {
  const test::Authority other("Somebody else");
  MosquittoBroker broker(tls_broker(other.server()));
  start(tls_settings(broker.port()));
  EXPECT_TRUE(fails_with("certificate is not accepted")) << lane->status().last_error;
  EXPECT_TRUE(fails_with(dir.file("ca.pem"))) << lane->status().last_error;
  EXPECT_EQ(probe.connects.get(), 0U);
}

TEST_F(Connecting, RefusesACertificateForAnotherHostUnlessToldNotToLook) {
  MosquittoBroker broker(tls_broker(authority.issue({.common_names = {"other.example"},
                                                     .san_uris = {},
                                                     .san_dns = {"other.example"},
                                                     .san_ips = {},
                                                     .server = true})));
  auto with = tls_settings(broker.port());
  start(with);
  ASSERT_TRUE(eventually([this] { return probe.connect_failures.get() > 0; }));
  EXPECT_EQ(probe.connects.get(), 0U);
  EXPECT_TRUE(fails_with("TLS connection to 127.0.0.1:")) << lane->status().last_error;
  EXPECT_TRUE(fails_with("certificate is for another host")) << lane->status().last_error;
  lane->stop(seconds(0));
  with.tls.verify_host = false;
  start(with);
  EXPECT_TRUE(running()) << log.all();
}

TEST_F(Connecting, NamesAFileThatItCannotRead) {
  auto with = tls_settings(test::free_port());
  with.tls.ca_file = dir.file("nowhere.pem");
  start(with);
  EXPECT_TRUE(fails_with("tls.ca_file " + dir.file("nowhere.pem") + " cannot be read: No such file")) << log.all();
}

TEST_F(Connecting, SaysWhyItIsRefusedAndGetsInOnceThePasswordIsRight) {
  const std::string accounts = dir.write("accounts", "");
  ASSERT_EQ(std::system(("mosquitto_passwd -b " + accounts + " gateway secret 2>/dev/null").c_str()), 0);
  MosquittoBroker broker({.password_file = accounts});
  auto with = settings(broker.port());
  with.username = "gateway";
  with.password_file = dir.write("password", "wrong\n");
  start(with);
  EXPECT_TRUE(fails_with("refused the connection")) << log.all();
  EXPECT_TRUE(fails_with("not authorized") || fails_with("bad user name")) << lane->status().last_error;
  EXPECT_EQ(lane->status().last_error.find("wrong"), std::string::npos);
  dir.write("password", "secret\n");
  EXPECT_TRUE(running()) << log.all();
}

// A listening socket whose connections are accepted by the kernel alone.
struct MuteListener {
  MuteListener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::listen(fd, 16);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
  }
  ~MuteListener() { ::close(fd); }
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::uint16_t port = 0;
};

TEST_F(Connecting, GivesUpOnABrokerThatNeverAnswersWithoutSpinning) {
  for (const bool tls : {false, true}) {
    const MuteListener listener;
    auto with = tls ? tls_settings(listener.port) : settings(listener.port);
    with.connect_timeout = seconds(1);
    start(with);
    timespec before{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    EXPECT_TRUE(fails_with("no answer from 127.0.0.1:" + std::to_string(listener.port) + " within 1 s"));
    timespec after{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    EXPECT_LT((after.tv_sec - before.tv_sec) * 1'000 + (after.tv_nsec - before.tv_nsec) / 1'000'000, 150);
    lane->stop(seconds(0));
  }
}

TEST_F(Connecting, SurvivesABrokerThatTalksNonsense) {
  const MuteListener listener;
  start(settings(listener.port));
  for (const std::string_view words : {std::string_view("HTTP/1.1 400 Bad Request\r\n\r\n"),
                                       // CONNACK that claims 256 MB.
                                       std::string_view("\x20\xff\xff\xff\x7f", 5),
                                       // CONNACK with a property that there is not.
                                       std::string_view("\x20\x06\x00\x00\x03\x7F\x00\x01", 8),
                                       // PUBACK before CONNACK, then an undefined packet type.
                                       std::string_view("\x40\x02\x00\x01\x00\x00", 6)}) {
    const int peer = ::accept(listener.fd, nullptr, nullptr);
    ASSERT_GE(peer, 0);
    const auto failures = probe.connect_failures.get();
    ASSERT_GT(::send(peer, words.data(), words.size(), MSG_NOSIGNAL), 0);
    std::this_thread::sleep_for(milliseconds(50));
    ::close(peer);
    EXPECT_TRUE(eventually([&] { return probe.connect_failures.get() > failures; }));
  }
  EXPECT_EQ(probe.connects.get(), 0U);
}

TEST(MakeMqttLane, RefusesWhatCannotBeATopic) {
  SystemClock clock;
  test::TextLog log;
  MqttLaneProbe probe;
  test::FakeDeadLetters dead_letters;
  const auto make = [&](MqttLaneSettings settings, NodeIdentity node) {
    return make_mqtt_lane(std::move(settings), std::move(node), clock, log, probe, dead_letters).has_value();
  };
  EXPECT_TRUE(make({}, {"gw-1", "b1", "0.1.0", 1}));
  EXPECT_FALSE(make({}, {"gw/1", "b1", "0.1.0", 1}));
  EXPECT_FALSE(make({}, {"gw-1", "", "0.1.0", 1}));
  MqttLaneSettings wrong;
  wrong.topic_prefix = "a/#";
  EXPECT_FALSE(make(wrong, {"gw-1", "b1", "0.1.0", 1}));
  wrong = {};
  wrong.routes = {{{"nonsense"}, RoutePayload::batch}};
  EXPECT_FALSE(make(wrong, {"gw-1", "b1", "0.1.0", 1}));
}

}  // namespace
}  // namespace fieldgate::mqtt
