// SPDX-License-Identifier: Apache-2.0
//
// Where the wheel's ticks of a second meet deadlines that do not fit them.
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

TEST(DeviceSessionTime, NobodyIsLostWhoWasNotAsked) {
  // Heard 0.4 s after a tick, at the shortest interval: one tick comes too early to
  // ping, and at the next one and a half intervals are over.
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = config.session.heartbeat_min = 1s; });
  TestDevice device(bench);
  device.answer_pings(true);
  bench.clock.advance(400ms);
  device.connect("meter-1");
  for (int i = 0; i < 20; ++i) {
    bench.clock.advance(600ms);
    bench.shard().tick();
    bench.run();
    bench.clock.advance(400ms);
    device.all();
  }
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), 0U);
  EXPECT_GE(device.pings(), 5U);
  device.answer_pings(false);
  bench.pass(4s);
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), 1U);
}

TEST(DeviceSessionTime, ATickThatTakesAWhileStillServesEveryDeadline) {
  // As with many devices cut off at once: the clock moves on while they are seen to.
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 5s; });
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (int i = 0; i < 20; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->connect("meter-" + std::to_string(i));
  }
  bench.clock.pass_with_each_look(1ms);
  bench.pass(6s);
  for (auto& device : devices) {
    device->all();
    EXPECT_EQ(device->pings(), 1U);
  }
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), 0U);
  bench.pass(3s);
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), devices.size());
}

TEST(DeviceSessionTime, AMessageBegunBehindAnotherHasADeadlineOfItsOwn) {
  ShardBench bench(1, [](net::SessionConfig& config) {
    config.limits.message_assembly = 5s;
    config.session.heartbeat = 60s;
  });
  TestDevice device(bench);
  device.connect("meter-1");
  const auto message = [](std::uint64_t seq) {
    return TestDevice::make_ws(0x82, TestDevice::make_telemetry(seq, 1.0).SerializeAsString());
  };
  // What arrives never ends where a message does.
  device.send_raw(message(1).substr(0, 9));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) {
    bench.pass(2s);
    device.send_raw(message(seq).substr(9) + message(seq + 1).substr(0, 9));
  }
  EXPECT_EQ(bench.ended(EndReason::assembly_timeout), 0U);
  EXPECT_EQ(bench.uplink.records().size(), 10U);
  bench.pass(7s);
  EXPECT_EQ(bench.ended(EndReason::assembly_timeout), 1U);
}

}  // namespace
}  // namespace fieldgate::test
