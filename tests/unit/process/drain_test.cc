// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/drain.h"

#include "adapters/wire/protobuf_wire.h"
#include "tests/support/fakes.h"
#include "tests/support/shard_bench.h"
#include "tests/unit/uplink/fakes.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

// Time passes for the drain as the test says; the gateway has a port and a shard of its own.
class DrainTest : public testing::Test {
 protected:
  DrainTest() {
    settings.devices.tls.enabled = false;
    settings.devices.listen = {"127.0.0.1", 0};
    settings.node.shards = 1;
    settings.node.drain_delay = 5s;
    settings.node.drain_period = 40s;
    gateway =
        net::Gateway::make(settings, {"node-1", "boot-1"},
                           {wall, log, wire, authenticator, uplink, fleet, {}, admission, nullptr, &recorder, &tap})
            .value();
    port = gateway->open().value();
    gateway->accept();
    state = std::make_unique<NodeState>(NodeInfo{}, *gateway, bench.log, bench.clock);
    state->enter(NodeState::Phase::running);
  }
  void TearDown() override {
    gateway->stop();
    bench.log.stop(0ms);
  }

  void begin(bool durable) {
    drain = std::make_unique<Drain>(
        io, settings.node, durable,
        Drain::Parts{*gateway, bench.log, *state, bench.clock, log, [this] { return !something_to_tell; }},
        [this] { ++drained; });
    drain->begin();
  }
  void pass(milliseconds by) { bench.clock.ms += by.count(); }
  // The drain looks again every now and then: lets it do so a few times.
  void look() {
    for (int i = 0; i < 4; ++i) io.run_one_for(200ms);
  }
  bool eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!condition() && std::chrono::steady_clock::now() < deadline) io.run_one_for(10ms);
    return condition();
  }
  bool says(std::string_view reason) const {
    const auto reasons = state->readiness().reasons;
    return std::ranges::any_of(reasons, [reason](const auto& one) { return one.name == reason; });
  }
  // A device's connection; that it says nothing does not matter here.
  int connect() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
    EXPECT_TRUE(eventually([this] { return gateway->connections() == 1; }));
    return fd;
  }

  Settings settings;
  SystemClock wall;
  SilentLog log;
  wire::ProtobufWire wire{settings.limits};
  FakeAuthenticator authenticator;
  FakeUplink uplink;
  FakeFleet fleet;
  FakeAdmission admission;
  FakeRecorder recorder;
  FakeTap tap;
  std::unique_ptr<net::Gateway> gateway;
  std::uint16_t port = 0;
  uplink::FakeLane lane{"mqtt", true};
  uplink::Bench bench{{&lane}};
  std::unique_ptr<NodeState> state;
  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  bool something_to_tell = false;
  int drained = 0;
  std::unique_ptr<Drain> drain;
};

TEST_F(DrainTest, ServesOnForTheDelayAndIsNotReady) {
  begin(false);
  EXPECT_TRUE(says("draining"));
  pass(4'999ms);
  look();
  EXPECT_TRUE(says("draining"));
  EXPECT_EQ(drained, 0);
  pass(1ms);
  EXPECT_TRUE(eventually([this] { return drained == 1; })) << "nobody is there, and nothing is on its way";
  EXPECT_TRUE(says("drained"));
}

TEST_F(DrainTest, KeepsTheGatewayWhileADeviceIsConnectedForThreeQuartersOfItsPeriod) {
  const int device = connect();
  settings.node.drain_delay = 0s;
  begin(false);
  pass(29'999ms);
  look();
  EXPECT_TRUE(says("draining"));
  pass(1ms);
  EXPECT_TRUE(eventually([this] { return drained == 1; }));
  ::close(device);
}

TEST_F(DrainTest, KeepsTheGatewayWhileAnybodyHasToTellItWhatMustNotBeLost) {
  something_to_tell = true;
  begin(false);
  pass(5s);
  look();
  EXPECT_TRUE(says("draining")) << "no device is there, but what a peer left is not told yet";
  something_to_tell = false;
  EXPECT_TRUE(eventually([this] { return drained == 1; }));
}

TEST_F(DrainTest, WaitsNoLongerForThatThanForDevices) {
  something_to_tell = true;
  begin(false);
  pass(5s);
  look();
  pass(30s);
  EXPECT_TRUE(eventually([this] { return drained == 1; }));
}

TEST_F(DrainTest, LetsTheLanesHaveWhatIsNotOnDiskUntilItsEnd) {
  bench.submit(1);
  begin(false);
  pass(5s);
  EXPECT_TRUE(eventually([this] { return says("drained"); }));
  look();
  EXPECT_EQ(drained, 0) << "the shards have stopped, the lanes have not";
  EXPECT_EQ(drain->progress().records, 10U);
  pass(40s);
  EXPECT_TRUE(eventually([this] { return drained == 1; }));
}

TEST_F(DrainTest, EndsAsSoonAsTheLanesHaveAll) {
  bench.submit(1);
  begin(false);
  pass(5s);
  EXPECT_TRUE(eventually([this] { return says("drained"); }));
  lane.complete_all();
  EXPECT_TRUE(eventually([this] { return drained == 1; }));
  EXPECT_TRUE(drain->progress().drained);
}

TEST_F(DrainTest, DoesNotWaitForAHeldLaneWhereTheSpoolOutlivesTheProcess) {
  bench.submit(1);
  ASSERT_TRUE(bench.log.pause("mqtt"));
  begin(true);
  pass(5s);
  EXPECT_TRUE(eventually([this] { return drained == 1; }));
}

TEST_F(DrainTest, WaitsForNothingOnceItIsCutShort) {
  const int device = connect();
  bench.submit(1);
  something_to_tell = true;
  begin(false);
  look();
  EXPECT_EQ(drained, 0);
  drain->cut_short();
  EXPECT_TRUE(eventually([this] { return drained == 1; }));
  ::close(device);
}

}  // namespace
}  // namespace fieldgate::test
