// SPDX-License-Identifier: Apache-2.0
//
// Devices that are sent away, and what is said of them until it is clear whether they come back.
#include "gateway/net/shard.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

// Of a node with peers on its store; connections are old after a minute, more or less.
struct ShardReturn : testing::Test {
  // "online|offline EPOCH", as the log has them for the lanes; or for none.
  Texts told(const std::string& device, bool to_lanes = true) const {
    Texts out;
    for (const RecordView& record : bench.uplink.records(RecordKind::presence)) {
      if (record.device == device && (record.lanes != 0) == to_lanes)
        out.push_back(std::string(record.name) + " " + std::to_string(record.epoch.value));
    }
    return out;
  }
  static std::string online(std::uint64_t epoch) { return "online " + std::to_string(epoch); }
  static std::string offline(std::uint64_t epoch) { return "offline " + std::to_string(epoch); }
  void on_home(const std::string& id, const std::function<void(net::Shard&)>& f) {
    bench.home(id).post([&] { f(bench.home(id)); });
    bench.run();
  }
  static Standing standing(const std::string& id, std::uint64_t epoch) { return {*DeviceId::parse(id), {epoch}}; }
  std::optional<DeviceDetail> detail(const std::string& id) {
    std::optional<DeviceDetail> found;
    on_home(id, [&](net::Shard& home) {
      home.detail(*DeviceId::parse(id), [&](std::optional<DeviceDetail> answer) { found = std::move(answer); });
    });
    return found;
  }
  void drain() {
    for (const std::uint32_t i : {0U, 1U}) bench.shard(i).post([this, i] { bench.shard(i).drain(0ms); });
    bench.run();
  }
  std::uint64_t held() { return bench.shard(0).probe().ends_held.get() + bench.shard(1).probe().ends_held.get(); }
  std::uint64_t ended(HoldEnd how) {
    const auto i = static_cast<std::size_t>(how);
    return bench.shard(0).probe().hold_ends[i].get() + bench.shard(1).probe().hold_ends[i].get();
  }

  ShardBench bench{2, [](net::SessionConfig& config) {
                     config.peers = true;
                     config.session.age_max = 60s;
                   }};
};

TEST_F(ShardReturn, OfADeviceThatAnotherNodeLetsInNothingIsSaid) {
  TestDevice device(bench, 1);
  const std::uint64_t epoch = device.connect("meter-1").epoch();
  bench.run();
  const std::int64_t came = bench.presence.states.at("meter-1").since_unix_ms;
  bench.clock.advance(3s);
  drain();
  EXPECT_EQ(device.close_code(), 1001);
  EXPECT_EQ(held(), 1U);
  const auto meanwhile = detail("meter-1");
  ASSERT_TRUE(meanwhile);
  EXPECT_TRUE(meanwhile->summary.online);
  EXPECT_TRUE(meanwhile->reconnecting);
  EXPECT_EQ(meanwhile->summary.since_unix_ms, came);
  EXPECT_EQ(bench.send("meter-1", CommandFrame{"c-1", "n", {}, 0})->delivery, Delivery::offline);

  on_home("meter-1", [&](net::Shard& home) { home.superseded({standing("meter-1", epoch + 1)}, "gw-2"); });
  bench.pass(20s);
  EXPECT_EQ(told("meter-1"), Texts{online(epoch)});
  EXPECT_EQ(told("meter-1", false), Texts{offline(epoch)}) << "for the next process of this node";
  EXPECT_TRUE(bench.presence.states.at("meter-1").online) << "the view is the other node's to change";
  EXPECT_EQ(held(), 0U);
  EXPECT_EQ(ended(HoldEnd::elsewhere), 1U);
  // Who asks this process hears that it is not here, from nobody's word to the fleet.
  const DeviceSummary& last = bench.fleet.changes.back();
  EXPECT_FALSE(last.online);
  EXPECT_EQ(last.epoch, Epoch{epoch});
  EXPECT_EQ(last.reason, "");
  EXPECT_FALSE(detail("meter-1")->reconnecting);
}

TEST_F(ShardReturn, OfADeviceThatDoesNotComeBackTheEndIsSaidLateAndAsItWas) {
  TestDevice device(bench, 1);
  const std::uint64_t epoch = device.connect("meter-1").epoch();
  drain();
  const std::int64_t end = bench.clock.unix_ms();
  bench.pass(9s);
  EXPECT_EQ(told("meter-1"), Texts{online(epoch)});
  bench.pass(2s);
  EXPECT_EQ(told("meter-1"), (Texts{online(epoch), offline(epoch)}));
  const RecordView record = bench.uplink.records(RecordKind::presence).back();
  EXPECT_GE(record.received_unix_ms, end + 10'000) << "when it was said: it is no old record";
  const PresenceState& view = bench.presence.states.at("meter-1");
  EXPECT_FALSE(view.online);
  EXPECT_EQ(view.since_unix_ms, end);
  EXPECT_EQ(view.reason, "drain");
  EXPECT_EQ(bench.fleet.changes.back().since_unix_ms, end);
  EXPECT_EQ(bench.fleet.changes.back().reason, "drain");
  EXPECT_EQ(ended(HoldEnd::said), 1U);
  EXPECT_EQ(held(), 0U);
  bench.pass(20s);
  EXPECT_EQ(told("meter-1").size(), 2U);
}

TEST_F(ShardReturn, ADeviceSentAwayForItsAgeComesBackToThisNodeWithoutHavingBeenOffline) {
  TestDevice first(bench, 1);
  first.answer_pings(true);
  const std::uint64_t epoch = first.connect("meter-1").epoch();
  for (int i = 0; i < 90 && bench.ended(EndReason::age_max) == 0; ++i) {
    bench.pass(1s);
    first.all();
  }
  ASSERT_EQ(bench.ended(EndReason::age_max), 1U);
  EXPECT_EQ(held(), 1U);
  bench.pass(2s);
  TestDevice second(bench, 0);
  const std::uint64_t next = second.connect("meter-1").epoch();
  bench.pass(12s);
  second.all();
  EXPECT_EQ(told("meter-1"), (Texts{online(epoch), online(next)}));
  EXPECT_EQ(ended(HoldEnd::returned), 1U);
  for (const DeviceSummary& change : bench.fleet.changes) EXPECT_TRUE(change.online);
  EXPECT_EQ(bench.presence.states.at("meter-1").epoch, Epoch{next});
}

TEST_F(ShardReturn, WhoIsKickedOrShutOutMeanwhileIsAwaitedNoMore) {
  for (const std::string id : {"kicked", "disabled", "elsewhere"}) {
    TestDevice device(bench);
    const std::uint64_t epoch = device.connect(id).epoch();
    drain();
    ASSERT_EQ(held(), 1U);
    if (id != "elsewhere") {
      const EndReason why = id == "kicked" ? EndReason::kicked : EndReason::device_disabled;
      EXPECT_FALSE(bench.close(id, why)) << "there is no connection";
    } else {
      on_home(id, [&](net::Shard& home) { home.end_connection(standing(id, epoch - 1), EndReason::kicked); });
      EXPECT_EQ(held(), 1U) << "that was an earlier one";
      on_home(id, [&](net::Shard& home) { home.end_connection(standing(id, epoch), EndReason::kicked); });
    }
    EXPECT_EQ(held(), 0U);
    EXPECT_EQ(told(id), (Texts{online(epoch), offline(epoch)}));
  }
}

TEST_F(ShardReturn, WhoIsAwaitedIsToThoseWhoCompareAsItWasSaid) {
  TestDevice device(bench, 1);
  const std::uint64_t epoch = device.connect("meter-1").epoch();
  drain();
  std::vector<DeviceSummary> otherwise;
  on_home("meter-1", [&](net::Shard& home) {
    home.compare({standing("meter-1", epoch)}, [&](std::vector<DeviceSummary> some) { otherwise = std::move(some); });
    home.tell_lost({{*DeviceId::parse("meter-1"), {epoch - 1}, "gw-2", "boot-2", 1'700'000'000'000, {}}});
  });
  EXPECT_TRUE(otherwise.empty());
  EXPECT_EQ(told("meter-1"), Texts{online(epoch)}) << "what was lost elsewhere was before that";
}

TEST(ShardDrain, ANodeAloneSaysAtOnceThatWhoItSendsAwayIsOffline) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.age_max = 60s; });
  TestDevice aged(bench);
  aged.answer_pings(true);
  aged.connect("aged");
  for (int i = 0; i < 90 && bench.ended(EndReason::age_max) == 0; ++i) {
    bench.pass(1s);
    aged.all();
  }
  TestDevice device(bench);
  device.connect("meter-1");
  ASSERT_EQ(bench.shard().probe().ends_held.get(), 1U);
  bench.shard().drain(0ms);
  bench.run();
  EXPECT_EQ(bench.shard().probe().ends_held.get(), 0U) << "nor can come back who was awaited";
  EXPECT_FALSE(bench.presence.states.at("aged").online);
  EXPECT_FALSE(bench.presence.states.at("meter-1").online);
}

// The clock stands still but for what the test lets pass; the timer that looks at it does not.
TEST(ShardDrain, SpreadsGoodbyesEvenlyOverThePeriodByTheClock) {
  constexpr std::uint64_t k_devices = 20;
  ShardBench bench;
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (std::uint64_t i = 0; i < k_devices; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->connect("meter-" + std::to_string(i));
  }
  // Until the drain has looked at the clock once more: nothing else is left to run then.
  const auto look = [&bench] {
    bench.run();
    bench.shard().io().restart();
    EXPECT_EQ(bench.shard().io().run_one_for(60s), 1U);
    bench.run();
  };
  bench.run();
  bench.shard().drain(10s);
  EXPECT_EQ(bench.ended(EndReason::drain), 1U);
  for (std::uint64_t sent = 2; sent <= k_devices; ++sent) {
    bench.clock.advance(500ms);
    look();
    EXPECT_EQ(bench.ended(EndReason::drain), sent) << "two a second";
    look();
    EXPECT_EQ(bench.ended(EndReason::drain), sent) << "and no more, however often it looks";
  }
}

}  // namespace
}  // namespace fieldgate::test
