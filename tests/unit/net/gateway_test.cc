// SPDX-License-Identifier: Apache-2.0
//
// The gateway as the rest of the process uses it: from threads that are not its own.
#include "gateway/net/gateway.h"

#include "adapters/wire/protobuf_wire.h"
#include "tests/support/fakes.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

// Answers on a thread of its own.
class DistantAdmission final : public Admission {
 public:
  ~DistantAdmission() override {
    for (std::thread& thread : threads_) thread.join();
  }
  // On the shard's thread.
  void admit(const DeviceId&, const DeviceProfile&, Answer answer) override {
    threads_.emplace_back([answer = std::move(answer), epoch = Epoch{++epoch_}] { answer(Admitted{epoch}); });
  }
  void renew(const DeviceId& id, Epoch, Answer answer) override { admit(id, {}, std::move(answer)); }

 private:
  std::uint64_t epoch_ = 0;
  std::vector<std::thread> threads_;
};

// A device on a real socket.
class TcpDevice {
 public:
  // `before`: what it sends before anything else.
  TcpDevice(std::uint16_t port, const std::string& id, const std::string& before = {})
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
    put(before +
        "GET /v1/connect HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer for." +
        id + "\r\n\r\n");
    while (in_.find("\r\n\r\n") == std::string::npos && more()) {
    }
    in_.erase(0, in_.find("\r\n\r\n") + 4);
    v1::DeviceFrame hello;
    hello.mutable_hello()->set_device_id(id);
    hello.mutable_hello()->set_stream_id(1);
    hello.mutable_hello()->add_capabilities("command");
    send(hello);
  }
  ~TcpDevice() { ::close(fd_); }

  void send(const v1::DeviceFrame& frame) { put(TestDevice::make_ws(0x82, frame.SerializeAsString())); }
  // Waits for it; the end of the connection, and anything but a frame, is an empty one.
  v1::GatewayFrame next() {
    while (in_.size() < 2 || in_.size() < 2U + static_cast<unsigned char>(in_[1])) {
      if (!more()) return {};
    }
    const std::size_t size = static_cast<unsigned char>(in_[1]);  // none here is over 125 bytes
    v1::GatewayFrame frame;
    if (static_cast<unsigned char>(in_[0]) == 0x82) frame.ParseFromString(in_.substr(2, size));
    in_.erase(0, 2 + size);
    return frame;
  }

 private:
  void put(const std::string& bytes) {
    // A connection that was reset at once is seen by who reads.
    static_cast<void>(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }
  bool more() {
    pollfd ready{fd_, POLLIN, 0};
    char buffer[4'096];
    if (::poll(&ready, 1, 30'000) != 1) return false;
    const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (n > 0) in_.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }

  int fd_;
  std::string in_;
};

// Connects, and says nothing.
class Silent {
 public:
  explicit Silent(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Silent() { ::close(fd_); }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;

 private:
  int fd_;
};

// Long, for sanitizers and loaded machines: nothing is measured by it.
bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// PROXY version 2: TCP over IPv4, from 192.0.2.LAST:51234.
std::string proxy_header(char last = '\x07') {
  using namespace std::string_literals;
  return "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02"s + last + "\xC6\x33\x64\x01\xC8\x22\x20\xFB"s;
}

class GatewayTest : public testing::Test {
 protected:
  explicit GatewayTest(const std::vector<std::string>& proxies = {}, StoreKind store = StoreKind::none) {
    settings.store.kind = store;
    settings.devices.proxy_trusted = proxies;
    settings.devices.tls.enabled = false;
    settings.devices.listen = {"127.0.0.1", 0};
    settings.node.shards = 1;  // whose thread alone uses the fakes
    gateway =
        net::Gateway::make(settings, {"node-1", "boot-1"},
                           {clock, log, wire, authenticator, uplink, fleet, {}, admission, nullptr, &recorder, &tap})
            .value();
    port = gateway->open().value();
    gateway->accept();
  }

  std::pair<Delivery, Epoch> send(const std::string& device, DownMessage message) {
    std::promise<std::pair<Delivery, Epoch>> answer;
    gateway->send(id(device), std::move(message), [&](Delivery delivery, Epoch epoch) {
      answer.set_value({delivery, epoch});
    });
    return answer.get_future().get();
  }
  static DeviceId id(const std::string& text) { return DeviceId::parse(text).value(); }

  Settings settings;
  SystemClock clock;
  SilentLog log;
  wire::ProtobufWire wire{settings.limits};
  FakeAuthenticator authenticator;
  FakeUplink uplink;
  FakeFleet fleet;
  FakeRecorder recorder;
  FakeTap tap;
  std::unique_ptr<net::Gateway> gateway;
  std::uint16_t port = 0;
  DistantAdmission admission;  // ends before the gateway, whom it answers
};

TEST_F(GatewayTest, LetsADeviceInWhenAnotherThreadSaysSo) {
  TcpDevice device(port, "meter-1");
  EXPECT_EQ(device.next().welcome().epoch(), 1U);
}

TEST_F(GatewayTest, SendsInTheOrderOfEachThreadsCalls) {
  TcpDevice device(port, "meter-1");
  ASSERT_TRUE(device.next().has_welcome());
  constexpr int k_threads = 4;
  constexpr int k_commands = 50;
  std::atomic<int> answered{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < k_threads; ++t) {
    callers.emplace_back([&, t] {
      for (int i = 0; i < k_commands; ++i) {
        gateway->send(id("meter-1"), CommandFrame{std::to_string(t) + "." + std::to_string(i), "n", {}, 0},
                      [&](Delivery delivery, Epoch) { answered += delivery == Delivery::sent ? 1 : 0; });
      }
    });
  }
  std::array<int, k_threads> next{};
  for (int i = 0; i < k_threads * k_commands; ++i) {
    const std::string got = device.next().command().id();
    ASSERT_GE(got.size(), 3U) << "not a command, or nothing any more";
    const auto thread = static_cast<std::size_t>(got[0] - '0');
    ASSERT_EQ(got, std::to_string(thread) + "." + std::to_string(next.at(thread)++));
  }
  for (std::thread& caller : callers) caller.join();
  gateway->stop();
  EXPECT_EQ(answered, k_threads * k_commands);
}

TEST_F(GatewayTest, AnswersForADeviceThatIsNotThere) {
  EXPECT_EQ(send("nobody", CommandFrame{"c-1", "n", {}, 0}), std::make_pair(Delivery::offline, Epoch{}));
  std::promise<bool> closed;
  gateway->close(id("nobody"), EndReason::kicked, [&](bool was) { closed.set_value(was); });
  EXPECT_FALSE(closed.get_future().get());
}

TEST_F(GatewayTest, ClosesAConnection) {
  TcpDevice device(port, "meter-1");
  ASSERT_TRUE(device.next().has_welcome());
  std::promise<bool> closed;
  gateway->close(id("meter-1"), EndReason::kicked, [&](bool was) { closed.set_value(was); });
  EXPECT_TRUE(closed.get_future().get());
  EXPECT_EQ(device.next().goodbye().reason(), v1::GOODBYE_REASON_KICKED);
}

TEST_F(GatewayTest, LooksAgainAtTheDevicesItIsTold) {
  authenticator.expires_unix_ms = clock.unix_ms() + 3'600'000;
  TcpDevice device(port, "meter-1");
  ASSERT_TRUE(device.next().has_welcome());
  // Behind this answer the shard's thread does not look at `valid` until it is asked to.
  EXPECT_EQ(send("meter-1", CommandFrame{"c-1", "n", {}, 0}).first, Delivery::sent);
  ASSERT_TRUE(device.next().has_command());
  authenticator.valid = false;
  gateway->recheck({id("nobody"), id("meter-1")});
  EXPECT_EQ(device.next().goodbye().reason(), v1::GOODBYE_REASON_CREDENTIAL_REVOKED);
}

TEST_F(GatewayTest, ShowsTheRecordsOfWatchedDevices) {
  TcpDevice device(port, "meter-1");
  ASSERT_TRUE(device.next().has_welcome());
  gateway->watch(std::make_shared<const WatchSet>(WatchSet{id("meter-1")}));
  // Goes the same way, behind it.
  EXPECT_EQ(send("meter-1", CommandFrame{"c-1", "n", {}, 0}).first, Delivery::sent);
  ASSERT_TRUE(device.next().has_command());
  device.send(TestDevice::make_telemetry(1, 20.5));
  v1::DeviceFrame ask;
  ask.mutable_time_request()->set_token(1);
  device.send(ask);
  ASSERT_TRUE(device.next().has_time());
  gateway->stop();
  ASSERT_EQ(tap.records.size(), 1U);
  EXPECT_EQ(tap.records[0].device, "meter-1");
}

TEST_F(GatewayTest, KeepsNothingOfWhatIsSaidToItOnceItHasStopped) {
  gateway->stop();
  const auto held = std::make_shared<int>(0);
  std::vector<std::string> answers;
  gateway->send(id("meter-1"), CommandFrame{"c-1", "n", {}, 0}, [&, held](Delivery delivery, Epoch) {
    answers.emplace_back(delivery == Delivery::offline ? "offline" : "something else");
  });
  gateway->close(id("meter-1"), EndReason::kicked,
                 [&, held](bool there) { answers.emplace_back(there ? "yes" : "no"); });
  gateway->detail(id("meter-1"), [&, held](const auto& detail) { answers.emplace_back(detail ? "here" : "not here"); });
  EXPECT_EQ(answers, (std::vector<std::string>{"offline", "no", "not here"}));
  gateway->list([held](const std::vector<DeviceSummary>&) {});
  gateway->compare({Standing{id("meter-1"), Epoch{1}}}, [held](const std::vector<DeviceSummary>&) {});
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(GatewayTest, TellsTheRecorderWhoWasConnectedAsItStops) {
  TcpDevice device(port, "meter-1");
  ASSERT_TRUE(device.next().has_welcome());
  gateway->stop();
  ASSERT_EQ(recorder.entries.size(), 2U);
  EXPECT_EQ(recorder.entries[0].kind, TimelineKind::connected);
  EXPECT_EQ(recorder.entries[1].kind, TimelineKind::disconnected);
}

std::uint64_t ended(const net::Gateway& gateway, EndReason reason) {
  return gateway.probe(0).ends[static_cast<std::size_t>(reason)].get();
}

TEST_F(GatewayTest, LetsNobodyInUnderPressureAndAllOnceItIsOver) {
  TcpDevice early(port, "meter-1");
  ASSERT_TRUE(early.next().has_welcome());
  gateway->set_pressure(Pressure::memory);
  EXPECT_FALSE(TcpDevice(port, "meter-2").next().has_welcome());
  gateway->set_pressure(Pressure::descriptors);
  EXPECT_FALSE(TcpDevice(port, "meter-3").next().has_welcome());
  // Who was in is served all along.
  EXPECT_EQ(send("meter-1", CommandFrame{"c-1", "n", {}, 0}).first, Delivery::sent);
  EXPECT_TRUE(early.next().has_command());
  gateway->set_pressure(Pressure::none);
  EXPECT_TRUE(TcpDevice(port, "meter-4").next().has_welcome());
  EXPECT_EQ(ended(*gateway, EndReason::memory), 1U);
  EXPECT_EQ(ended(*gateway, EndReason::descriptors), 1U);
}

// Whether the shard's listener waits for that.
bool paused(const net::Gateway& gateway, AcceptPause why) {
  return gateway.probe(0).accept_paused[static_cast<std::size_t>(why)].get() == 1;
}

TEST_F(GatewayTest, ShowsThatItsListenerWaitsAndForWhatUntilItGoesOn) {
  gateway->set_pressure(Pressure::memory);
  EXPECT_FALSE(TcpDevice(port, "meter-1").next().has_welcome());
  EXPECT_TRUE(eventually([&] { return paused(*gateway, AcceptPause::memory); }));
  gateway->set_pressure(Pressure::descriptors);
  EXPECT_TRUE(eventually([&] { return paused(*gateway, AcceptPause::descriptors); }));
  EXPECT_FALSE(paused(*gateway, AcceptPause::memory));
  gateway->set_pressure(Pressure::none);
  EXPECT_TRUE(TcpDevice(port, "meter-2").next().has_welcome());
  EXPECT_FALSE(paused(*gateway, AcceptPause::descriptors));
}

TEST_F(GatewayTest, ShowsThatAsManyHandshakesAreUnderWayAsMayBe) {
  settings.limits.handshakes_max = 1;
  ASSERT_TRUE(gateway->reload(settings));
  TcpDevice first(port, "meter-1");  // the reload has gone the same way before it
  ASSERT_TRUE(first.next().has_welcome());
  EXPECT_TRUE(eventually([&] { return !paused(*gateway, AcceptPause::handshakes_max); }));
  {
    const Silent stalls(port);
    EXPECT_TRUE(eventually([&] { return paused(*gateway, AcceptPause::handshakes_max); }));
  }
  TcpDevice second(port, "meter-2");
  EXPECT_TRUE(second.next().has_welcome());
  EXPECT_TRUE(eventually([&] { return !paused(*gateway, AcceptPause::handshakes_max); }));
}

TEST_F(GatewayTest, LetsInAsManyASecondAsItMayAndTurnsAwayWhatQueuesForLonger) {
  settings.limits.handshakes_per_second = 1;
  ASSERT_TRUE(gateway->reload(settings));
  TcpDevice first(port, "meter-1");  // the reload has gone the same way before it
  ASSERT_TRUE(first.next().has_welcome());
  {
    std::vector<std::unique_ptr<Silent>> queue;
    for (int i = 0; i < 12; ++i) queue.push_back(std::make_unique<Silent>(port));
    EXPECT_TRUE(eventually([&] { return paused(*gateway, AcceptPause::handshake_budget); }));
    EXPECT_EQ(ended(*gateway, EndReason::handshake_budget), 0U) << "so few may wait";
    // More than there will be room for in the seconds that anybody is left to wait.
    for (int i = 0; i < 64; ++i) queue.push_back(std::make_unique<Silent>(port));
    EXPECT_TRUE(eventually([&] { return ended(*gateway, EndReason::handshake_budget) > 0; }));
  }
  settings.limits.handshakes_per_second = 1'000;
  ASSERT_TRUE(gateway->reload(settings));
  TcpDevice second(port, "meter-2");
  EXPECT_TRUE(second.next().has_welcome());
  EXPECT_TRUE(eventually([&] { return !paused(*gateway, AcceptPause::handshake_budget); }));
}

TEST_F(GatewayTest, LetsDevicesInWhileOthersTakeEveryPlaceAndSayNothing) {
  settings.limits.handshakes_max = 2;
  settings.session.deadlines.upgrade = 1h;
  ASSERT_TRUE(gateway->reload(settings));
  TcpDevice first(port, "meter-1");  // the reload has gone the same way before it
  ASSERT_TRUE(first.next().has_welcome());
  const Silent one(port), another(port);
  EXPECT_TRUE(eventually([&] { return paused(*gateway, AcceptPause::handshakes_max); }));
  TcpDevice second(port, "meter-2");
  EXPECT_TRUE(second.next().has_welcome());
  EXPECT_GE(ended(*gateway, EndReason::upgrade_timeout), 1U);
}

TEST_F(GatewayTest, TakesNoProxyHeaderWhereNobodyIsTrusted) {
  EXPECT_FALSE(TcpDevice(port, "meter-1", proxy_header()).next().has_welcome());
  EXPECT_EQ(ended(*gateway, EndReason::upgrade_malformed), 1U);
}

TEST(DrainTime, IsWhatTheRateAsksForAndNoMoreThanThereIs) {
  EXPECT_EQ(net::drain_time(6'000, 0, 20s), 20s) << "any rate: evenly over all of it";
  EXPECT_EQ(net::drain_time(6'000, 500, 20s), 12s);
  EXPECT_EQ(net::drain_time(6'000, 200, 20s), 20s) << "the time wins";
  EXPECT_EQ(net::drain_time(0, 500, 20s), 0s);
  EXPECT_EQ(net::drain_time(4'000'000'000, 1'000, 2h), 2h);
}

// One of several nodes on one store.
class PeersGatewayTest : public GatewayTest {
 protected:
  PeersGatewayTest() : GatewayTest({}, StoreKind::postgres) {}
  // Lets a device in and sends it away; until its connection is gone.
  void send_away(const std::string& device_id) {
    {
      TcpDevice device(port, device_id);
      ASSERT_TRUE(device.next().has_welcome());
      gateway->drain(0ms, 0);
      ASSERT_TRUE(device.next().has_goodbye());
    }
    ASSERT_TRUE(eventually([&] { return gateway->connections() == 0; }));
  }
  // Once the shard is no more.
  std::vector<std::string> told() const {
    std::vector<std::string> names;
    for (const RecordView& record : uplink.records(RecordKind::presence)) {
      if (record.lanes != 0) names.emplace_back(record.name);
    }
    return names;
  }
};

TEST_F(PeersGatewayTest, SaysOfWhoItAwaitsThatItIsOfflineBeforeItStops) {
  send_away("meter-1");
  EXPECT_TRUE(eventually([&] { return gateway->probe(0).ends_held.get() == 1; }));
  EXPECT_GE(gateway->awaited(), 1U);
  gateway->stop();
  EXPECT_EQ(told(), (std::vector<std::string>{"online", "offline"}));
  EXPECT_EQ(fleet.changes.back().reason, "drain");
}

TEST_F(PeersGatewayTest, MissesNobodyWhoseConnectionIsGone) {
  send_away("meter-1");
  EXPECT_GE(gateway->awaited(), 1U) << "whether or not its state is home yet";
  gateway->superseded({{id("meter-1"), {1'000}}}, "node-2");
  EXPECT_TRUE(eventually([&] { return gateway->awaited() == 0; }));
  gateway->stop();
  EXPECT_EQ(told(), std::vector<std::string>{"online"});
}

class ProxiedGatewayTest : public GatewayTest {
 protected:
  ProxiedGatewayTest() : GatewayTest({"127.0.0.0/8"}) {}
};

TEST_F(ProxiedGatewayTest, KnowsADeviceByTheAddressThatItsBalancerTells) {
  TcpDevice device(port, "meter-1", proxy_header());
  ASSERT_TRUE(device.next().has_welcome());
  gateway->stop();
  ASSERT_FALSE(recorder.entries.empty());
  const auto& fields = recorder.entries[0].fields;
  const auto address = std::ranges::find(fields, "address", [](const auto& field) { return field.first; });
  ASSERT_NE(address, fields.end());
  EXPECT_EQ(address->second, "192.0.2.7:51234");
}

TEST_F(ProxiedGatewayTest, CountsDevicesByTheAddressThatItsBalancerTells) {
  settings.limits.sessions_per_address_max = 1;
  ASSERT_TRUE(gateway->reload(settings));
  TcpDevice first(port, "meter-1", proxy_header('\x07'));
  ASSERT_TRUE(first.next().has_welcome());
  EXPECT_FALSE(TcpDevice(port, "meter-2", proxy_header('\x07')).next().has_welcome());
  EXPECT_TRUE(TcpDevice(port, "meter-3", proxy_header('\x08')).next().has_welcome());
  EXPECT_EQ(ended(*gateway, EndReason::address_sessions_max), 1U);
}

TEST_F(ProxiedGatewayTest, RefusesATrustedBalancerThatDoesNotSayForWhomItSpeaks) {
  EXPECT_FALSE(TcpDevice(port, "meter-1").next().has_welcome());
  EXPECT_EQ(ended(*gateway, EndReason::proxy_protocol), 1U);
  EXPECT_TRUE(TcpDevice(port, "meter-2", proxy_header()).next().has_welcome());
}

TEST_F(ProxiedGatewayTest, LetsDevicesInWhileBalancersTakeEveryPlaceAndSayNothing) {
  settings.limits.handshakes_max = 2;
  settings.session.deadlines.tls = 1h;
  ASSERT_TRUE(gateway->reload(settings));
  TcpDevice first(port, "meter-1", proxy_header());  // the reload has gone the same way before it
  ASSERT_TRUE(first.next().has_welcome());
  const Silent one(port), another(port);
  EXPECT_TRUE(eventually([&] { return paused(*gateway, AcceptPause::handshakes_max); }));
  TcpDevice second(port, "meter-2", proxy_header());
  EXPECT_TRUE(second.next().has_welcome());
  EXPECT_GE(ended(*gateway, EndReason::proxy_protocol), 1U);
}

TEST_F(ProxiedGatewayTest, LeavesNoConnectionBehindOfWhoStoppedWithinTheHeader) {
  { const TcpDevice broken(port, "meter-1", proxy_header().substr(0, 20) + std::string(8, '\0')); }
  TcpDevice sound(port, "meter-2", proxy_header());
  EXPECT_TRUE(sound.next().has_welcome());
}

}  // namespace
}  // namespace fieldgate::test
