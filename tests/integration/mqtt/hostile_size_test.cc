// SPDX-License-Identifier: Apache-2.0
//
// A broker that sends more than it may, or the worst of what it may, and one that sends much.
#include "adapters/mqtt/link.h"
#include "tests/integration/mqtt/lane_fixture.h"
#include "tests/integration/mqtt/scripted_broker.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string_view>
#include <thread>

namespace fieldgate::mqtt {
namespace {

using namespace std::string_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool k_memory_is_ours = false;  // most of it is the sanitizer's
#else
constexpr bool k_memory_is_ours = true;
#endif

constexpr std::size_t k_mib = 1 << 20;
// Without commands and messages from other nodes: link.h.
constexpr std::size_t k_announced = 4'096 + 1'024;
constexpr std::size_t k_announced_most = 131'072 + 1'024;

// "VmHWM", "RssAnon"; bytes.
std::size_t memory(std::string_view what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(what)) return std::stoul(line.substr(what.size() + 1)) * 1'024;
  }
  ADD_FAILURE() << "no " << what;
  return 0;
}

// From here on VmHWM is of what follows; gives what it begins with.
std::size_t begin_high_water() {
  std::ofstream("/proc/self/clear_refs") << "5";
  return memory("VmHWM");
}

std::string length(std::size_t bytes) {
  std::string text;
  do {
    text += static_cast<char>((bytes & 0x7F) | (bytes > 0x7F ? 0x80 : 0));
    bytes >>= 7;
  } while (bytes > 0);
  return text;
}

std::string packet(char first, std::string_view rest) { return first + length(rest.size()) + std::string(rest); }

std::string publish(std::size_t rest_bytes) {
  return packet('\x30',
                "\x00\x01"
                "a\x00"s +
                    std::string(rest_bytes - 4, 'x'));
}

// A CONNACK of the smallest properties that there are, the worst that its size can do; then one
// that MQTT 5 does not know.
std::string amplifying(std::size_t bytes, bool unknown) {
  std::string properties;
  properties.reserve(bytes + 2);
  while (properties.size() < bytes) properties += "\x01\x00"s;
  if (unknown) properties += "\x7F\x00"s;
  return packet('\x20', "\x00\x00"s + length(properties.size()) + properties);
}

struct HostileSize : LaneFixture, testing::WithParamInterface<bool> {
  HostileSize() {
    if (GetParam()) broker = std::make_unique<ScriptedBroker>(authority.server());
  }
  ~HostileSize() override { lane.reset(); }
  MqttLaneSettings with() const {
    auto with = settings(broker->port());
    with.tls.enabled = GetParam();
    with.tls.ca_file = dir.write("ca.pem", authority.certificate());
    return with;
  }
  void meet() {
    ASSERT_NO_FATAL_FAILURE(broker->accept());
    ASSERT_EQ(broker->next().substr(0, 1), "\x10");  // CONNECT
  }
  void welcome() {
    ASSERT_NO_FATAL_FAILURE(meet());
    ASSERT_TRUE(broker->send(k_connack));
  }
  // Of QoS 1 or 2, its packet id 1 to 127.
  static std::string publish_to_confirm(char first, int id) {
    return packet(first,
                  "\x00\x01"
                  "a\x00"s +
                      static_cast<char>(id) + "\x00"s);
  }
  // A message that the lane confirms: by then it has read what came before.
  void expect_reads_to_here() {
    const std::string mark = "\x7E\x01";
    ASSERT_TRUE(broker->send(packet('\x32',
                                    "\x00\x01"
                                    "a"s +
                                        mark + "\x00"s)));
    std::string read;
    do {
      read = broker->next();
      ASSERT_FALSE(read.empty()) << lane->status().last_error;
    } while (read != "\x40" + mark);
    EXPECT_EQ(probe.disconnects.get(), 0U) << log.all();
  }
  bool fails_with(std::string_view text) const {
    return eventually([&] { return lane->status().last_error.find(text) != std::string::npos; });
  }

  PeerProbe inbox;  // with it a lane takes its largest packets
  const test::TempDir dir;
  const test::Authority authority;
  std::unique_ptr<ScriptedBroker> broker = std::make_unique<ScriptedBroker>();
};

INSTANTIATE_TEST_SUITE_P(Over, HostileSize, testing::Bool(),
                         [](const auto& over) { return over.param ? "Tls" : "Plain"; });

TEST_P(HostileSize, IsLeftBeforeAnythingOfATooLargePacketIsRead) {
  for (const bool unknown : {true, false}) {
    const std::string bytes = amplifying(16'000'000, unknown);
    start(with());
    ASSERT_NO_FATAL_FAILURE(meet());
    const std::size_t before = begin_high_water();
    // All at once, as fast as it is taken.
    EXPECT_FALSE(broker->send(bytes));
    EXPECT_TRUE(fails_with("larger than the limit we announced (5120)")) << lane->status().last_error;
    if (k_memory_is_ours) {
      EXPECT_LT(memory("VmHWM") - before, 32 * k_mib);
    }
    lane->stop(seconds(0));
  }
}

TEST_P(HostileSize, IsKnownToTheByte) {
  start(with());
  ASSERT_NO_FATAL_FAILURE(welcome());
  ASSERT_TRUE(broker->send(publish(k_announced)));
  ASSERT_NO_FATAL_FAILURE(expect_reads_to_here());
  broker->send(publish(k_announced + 1));
  EXPECT_TRUE(fails_with("sends a packet of 5121 bytes, larger than the limit we announced (5120)"))
      << lane->status().last_error;
}

TEST_P(HostileSize, MayBeManyPacketsAtOnce) {
  start(with());
  ASSERT_NO_FATAL_FAILURE(welcome());
  std::string much;
  // Without TLS one of them costs the lane three system calls, and waiting for more.
  const int count = GetParam() ? 300'000 : 30'000;
  for (int i = 0; i < count; ++i) much += publish(4);
  const std::size_t before = begin_high_water();
  ASSERT_TRUE(broker->send(much));
  ASSERT_NO_FATAL_FAILURE(expect_reads_to_here());
  if (k_memory_is_ours) {
    EXPECT_LT(memory("VmHWM") - before, 32 * k_mib);
  }
}

// A broker that is always quicker: what has come is dealt with all the same before more is taken.
TEST_P(HostileSize, IsReadPieceByPieceHoweverMuchIsThere) {
  // Of a length that ends where a TLS record does only every 1.6 MB: in between the library goes on.
  const std::string one = publish(99);
  constexpr std::size_t count = 15'000;
  ConnectPlan plan;
  plan.settings = with();
  plan.settings.client_id = "gw-1";
  plan.will_topic = "fg/nodes/gw-1";
  plan.will_payload = "{}";
  auto link = Link::open(plan).value();
  std::atomic<bool> sent = false;
  std::jthread far([&] {
    welcome();
    std::string much;
    for (std::size_t i = 0; i < count; ++i) much += one;
    broker->send(much);
    sent = true;
  });
  while (!link->connack) {
    pollfd ready{link->socket(), static_cast<short>(POLLIN | (link->wants_write() ? POLLOUT : 0)), 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
    ASSERT_TRUE(link->write()) << link->error();
    ASSERT_TRUE(link->read()) << link->error();
  }
  eventually([&] { return sent.load(); }, seconds(2));  // where the socket has room for it
  std::size_t most = 0;
  std::size_t all = link->incoming.size();
  for (; all < count; link->incoming.clear()) {
    link->incoming.clear();
    pollfd ready{link->socket(), POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
    ASSERT_TRUE(link->read()) << link->error();
    most = std::max(most, link->incoming.size());
    all += link->incoming.size();
  }
  EXPECT_EQ(all, count);
  // 64 KiB of the socket's, and what TLS had of a record.
  EXPECT_LE(most, (65'536 + 16'384) / one.size() + 1);
}

// Their bytes are more by far than one packet may have: they are not counted as if of one.
TEST_P(HostileSize, MayBeYearsOfPings) {
  start(with());
  ASSERT_NO_FATAL_FAILURE(welcome());
  std::string pings;
  for (int i = 0; i < 50'000; ++i) pings += "\xD0\x00"s;
  ASSERT_TRUE(broker->send(pings));
  ASSERT_NO_FATAL_FAILURE(expect_reads_to_here());
}

TEST_P(HostileSize, CannotBeginMessagesOfQos2WithoutEnd) {
  start(with());
  ASSERT_NO_FATAL_FAILURE(welcome());
  for (int id = 1; id <= 100; ++id) {
    ASSERT_TRUE(broker->send(publish_to_confirm('\x32', id)));
    ASSERT_NO_FATAL_FAILURE(expect_reads_to_here());
  }
  for (int id = 1; id <= 32; ++id) ASSERT_TRUE(broker->send(publish_to_confirm('\x34', id)));
  EXPECT_FALSE(eventually([&] { return probe.disconnects.get() > 0; }, milliseconds(100)));
  ASSERT_TRUE(broker->send(publish_to_confirm('\x34', 33)));
  EXPECT_TRUE(eventually([&] { return probe.disconnects.get() > 0; }));
}

TEST_P(HostileSize, CostsNoMoreThanItsBudgetAndThenThatLane) {
  const std::string bytes = amplifying(k_announced_most - 32, true);
  lane =
      make_mqtt_lane(with(), {"gw-1", "boot-1", "0.1.0", 1}, clock, log, probe, dead_letters, nullptr, &inbox).value();
  const std::size_t before = memory("RssAnon");
  lane->start(feed);
  int faults = 0;
  while (eventually([&] { return state() == LaneState::stopped || broker->knocked(milliseconds(0)); }) &&
         state() != LaneState::stopped) {
    ASSERT_NO_FATAL_FAILURE(meet());
    ASSERT_TRUE(broker->send(bytes));
    ASSERT_TRUE(broker->ended(k_patience));
    ++faults;
    ASSERT_LT(faults, 100);
  }
  EXPECT_GT(faults, 10);  // it is charged by what it costs
  ASSERT_EQ(state(), LaneState::stopped);
  EXPECT_NE(lane->status().last_error.find("given up until a restart"), std::string::npos);
  EXPECT_NE(log.all().find("mqtt_lane_given_up"), std::string::npos);
  if (k_memory_is_ours) {
    EXPECT_LT(memory("RssAnon") - before, 80 * k_mib);
  }
  lane->notify();
  lane->hold(true);
  lane->hold(false);
  EXPECT_FALSE(broker->knocked(seconds(1)));
  EXPECT_EQ(state(), LaneState::stopped);

  // Another is none the worse for it.
  const MosquittoBroker good;
  MqttLaneProbe other_probe;
  test::FakeFeed other_feed;
  const auto other =
      make_mqtt_lane(settings(good.port()), {"gw-2", "boot-1", "0.1.0", 1}, clock, log, other_probe, dead_letters)
          .value();
  other->start(other_feed);
  EXPECT_TRUE(eventually([&] { return other->status().state == LaneState::running; }));
  other->stop(seconds(0));
}

}  // namespace
}  // namespace fieldgate::mqtt
