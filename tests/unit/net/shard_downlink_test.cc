// SPDX-License-Identifier: Apache-2.0
//
// What others send to devices: commands, cancels, desired state; and kicks.
#include "gateway/net/shard.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

CommandFrame command(const std::string& id, std::size_t payload_bytes = 4) {
  return {id, "reboot", std::vector<std::byte>(payload_bytes, std::byte{'x'}), 1'500};
}

struct AbleDevice : TestDevice {
  explicit AbleDevice(ShardBench& bench, std::uint32_t shard = 0) : TestDevice(bench, shard) {
    capabilities = {"command", "command_cancel", "desired"};
  }
};

void expect_sent(const std::optional<ShardBench::Sent>& sent, Epoch epoch) {
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->delivery, Delivery::sent) << to_string(sent->delivery);
  EXPECT_EQ(sent->epoch, epoch);
}

Delivery outcome(const std::optional<ShardBench::Sent>& sent) {
  EXPECT_TRUE(sent);
  return sent ? sent->delivery : Delivery::offline;
}

TEST(Downlink, ReachesADeviceWhereverItIsAndWhateverItsHome) {
  ShardBench bench(2);
  for (const std::uint32_t shard : {0U, 1U}) {
    for (const std::string id : {"meter-1", "meter-2", "meter-3"}) {
      AbleDevice device(bench, shard);
      const Epoch epoch{device.connect(id).epoch()};
      expect_sent(bench.send(id, command("c-1")), epoch);
      const auto frame = device.next();
      ASSERT_TRUE(frame && frame->has_command());
      EXPECT_EQ(frame->command().id(), "c-1");
      EXPECT_EQ(frame->command().name(), "reboot");
      EXPECT_EQ(frame->command().payload(), "xxxx");
      EXPECT_EQ(frame->command().deadline_ms(), 1'500U);
    }
  }
}

TEST(Downlink, CarriesCancelsAndDesiredState) {
  ShardBench bench;
  AbleDevice device(bench);
  const Epoch epoch{device.connect("meter-1").epoch()};
  expect_sent(bench.send("meter-1", CommandCancelFrame{"c-1"}), epoch);
  expect_sent(bench.send("meter-1", DesiredFrame{7, R"({"rate":5})", true}), epoch);
  const auto frames = device.all();
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[0].command_cancel().id(), "c-1");
  EXPECT_EQ(frames[1].desired().version(), 7U);
  EXPECT_EQ(frames[1].desired().delta_json(), R"({"rate":5})");
  EXPECT_TRUE(frames[1].desired().full());
}

TEST(Downlink, SaysOfflineOfADeviceThatIsNotThere) {
  ShardBench bench;
  EXPECT_EQ(outcome(bench.send("nobody", command("c-1"))), Delivery::offline);
  {
    AbleDevice device(bench);
    device.connect("meter-1");
  }
  const auto sent = bench.send("meter-1", command("c-2"));
  EXPECT_EQ(outcome(sent), Delivery::offline);
  EXPECT_EQ(sent->epoch, Epoch{}) << "of no connection";
}

TEST(Downlink, SaysOfflineOfAConnectionThatBreaksAsItIsWrittenTo) {
  ShardBench bench;
  AbleDevice device(bench);
  device.connect("meter-1");
  device.break_off();  // which the gateway has not seen yet
  EXPECT_EQ(outcome(bench.send("meter-1", command("c-1"))), Delivery::offline);
}

TEST(Downlink, SaysUnsupportedUnlessHelloSaidOtherwise) {
  const std::vector<std::pair<std::string, DownMessage>> needs = {
      {"command", command("c-1")}, {"command_cancel", CommandCancelFrame{"c-1"}}, {"desired", DesiredFrame{1, "{}"}}};
  for (const auto& [capability, message] : needs) {
    for (const auto& [said, ignored] : needs) {
      ShardBench bench;
      TestDevice device(bench);
      device.capabilities = {said, "time"};
      device.connect("meter-1");
      const bool can = said == capability;
      EXPECT_EQ(outcome(bench.send("meter-1", message)), can ? Delivery::sent : Delivery::unsupported);
      EXPECT_EQ(device.all().size(), can ? 1U : 0U) << capability << " to one that says " << said;
    }
  }
}

TEST(Downlink, SaysTooLargeOfWhatIsOverReceiveMaxBytes) {
  ShardBench bench;
  AbleDevice device(bench);
  device.receive_max_bytes = 300;
  device.connect("meter-1");
  EXPECT_EQ(outcome(bench.send("meter-1", command("c-1", 300))), Delivery::too_large);
  EXPECT_EQ(outcome(bench.send("meter-1", command("c-2", 250))), Delivery::sent);
  const auto frames = device.all();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].command().id(), "c-2");
}

TEST(Downlink, SaysTooLargeOfWhatTheOutboxWouldNotHoldWhateverTheDeviceTakes) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.outbox_bytes_max = 8'000; });
  AbleDevice device(bench);
  device.receive_max_bytes = 1'000'000;
  device.connect("meter-1");
  EXPECT_EQ(outcome(bench.send("meter-1", command("c-1", 4'000))), Delivery::too_large);
  EXPECT_EQ(outcome(bench.send("meter-1", command("c-2", 3'900))), Delivery::sent);
}

TEST(Downlink, SaysBusyToADeviceThatDoesNotReadAndNeverEndsItForThat) {
  ShardBench bench;
  AbleDevice device(bench);
  device.receive_max_bytes = 32'768;
  device.connect("meter-1");
  std::vector<std::string> sent;
  int busy = 0;
  for (int i = 0; busy < 50 && i < 5'000; ++i) {
    const std::string id = "c-" + std::to_string(i);
    const Delivery delivery = outcome(bench.send("meter-1", command(id, 30'000)));
    ASSERT_TRUE(delivery == Delivery::sent || delivery == Delivery::busy) << to_string(delivery);
    if (delivery == Delivery::sent) {
      ASSERT_EQ(busy, 0) << "nothing was read meanwhile";
      sent.push_back(id);
    } else {
      ++busy;
    }
  }
  EXPECT_EQ(busy, 50);
  EXPECT_EQ(bench.ended(EndReason::slow_reader), 0U);
  // It reads again: what was called sent comes, in order, and there is room.
  std::vector<std::string> got;
  for (const auto& frame : device.all()) got.push_back(frame.command().id());
  for (const auto& frame : device.all()) got.push_back(frame.command().id());
  EXPECT_EQ(got, sent);
  EXPECT_EQ(outcome(bench.send("meter-1", command("after"))), Delivery::sent);
}

TEST(Downlink, KeepsTheOrderOfTheCalls) {
  ShardBench bench(2);
  AbleDevice device(bench, 1);
  device.connect("meter-1");
  std::vector<Delivery> outcomes;
  for (int i = 0; i < 100; ++i) {
    bench.home("meter-1").send_down(DeviceId::parse("meter-1").value(), command("c-" + std::to_string(i)),
                                    [&](Delivery delivery, Epoch) { outcomes.push_back(delivery); });
  }
  const auto frames = device.all();
  ASSERT_EQ(frames.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(frames[static_cast<std::size_t>(i)].command().id(), "c-" + std::to_string(i));
  EXPECT_EQ(outcomes, std::vector<Delivery>(100, Delivery::sent));
}

// Sends as soon as the device is said to be online.
class EagerView final : public PresenceView {
 public:
  void publish(const DeviceId& device, const PresenceState& state) override {
    if (state.online && on_online) on_online(device);
  }
  std::function<void(const DeviceId&)> on_online;
};

TEST(Downlink, WhatIsSentOnceADeviceIsSaidToBeOnlineComesBehindWelcome) {
  for (const std::uint32_t home : {0U, 1U}) {
    EagerView view;
    ShardBench bench(2, {}, nullptr, {&view});
    std::vector<Delivery> outcomes;
    view.on_online = [&](const DeviceId& id) {
      // As Gateway::send() does it, from whichever thread heard.
      bench.home(id.str()).post([&bench, &outcomes, id] {
        bench.home(id.str()).send_down(id, command("c-1"),
                                       [&outcomes](Delivery delivery, Epoch) { outcomes.push_back(delivery); });
      });
    };
    const std::string id = home_shard("meter-1", 2) == home ? "meter-1" : "meter-2";
    ASSERT_EQ(home_shard(id, 2), home);
    AbleDevice device(bench, 0);
    device.connect(id);  // takes the Welcome, which must be the first
    const auto frame = device.next();
    ASSERT_TRUE(frame && frame->has_command());
    EXPECT_EQ(outcomes, std::vector<Delivery>{Delivery::sent});
  }
}

TEST(Downlink, GoesToTheConnectionThatTookOver) {
  ShardBench bench(2);
  AbleDevice old(bench, 0);
  old.connect("meter-1", 1);
  AbleDevice fresh(bench, 1);
  const Epoch epoch{fresh.connect("meter-1", 2).epoch()};
  expect_sent(bench.send("meter-1", command("c-1")), epoch);
  const auto frame = fresh.next();
  EXPECT_TRUE(frame && frame->has_command());
  for (const auto& late : old.all()) EXPECT_FALSE(late.has_command());
}

TEST(Downlink, IsCountedByKindAndOutcome) {
  ShardBench bench;
  TestDevice device(bench);
  device.capabilities = {"command"};
  device.connect("meter-1");
  bench.send("meter-1", command("c-1"));
  bench.send("meter-1", DesiredFrame{1, "{}"});
  bench.send("nobody", CommandCancelFrame{"c-1"});
  const auto count = [&](std::size_t kind, Delivery delivery) {
    return bench.shard().probe().down[kind][static_cast<std::size_t>(delivery)].get();
  };
  EXPECT_EQ(count(0, Delivery::sent), 1U);
  EXPECT_EQ(count(1, Delivery::offline), 1U);
  EXPECT_EQ(count(2, Delivery::unsupported), 1U);
  EXPECT_EQ(count(2, Delivery::sent), 0U);
}

// --- closing from above

TEST(DownlinkClose, EndsAConnectionForTheReasonGiven) {
  const std::vector<std::pair<EndReason, v1::GoodbyeReason>> cases = {
      {EndReason::kicked, v1::GOODBYE_REASON_KICKED},
      {EndReason::credential_revoked, v1::GOODBYE_REASON_CREDENTIAL_REVOKED},
      {EndReason::device_disabled, v1::GOODBYE_REASON_POLICY}};
  for (const auto& [reason, goodbye] : cases) {
    ShardBench bench(2);
    TestDevice device(bench, 1);
    device.connect("meter-1");
    EXPECT_TRUE(bench.close("meter-1", reason));
    const auto frame = device.next();
    ASSERT_TRUE(frame && frame->has_goodbye());
    EXPECT_EQ(frame->goodbye().reason(), goodbye);
    EXPECT_EQ(device.close_code().value_or(0), info(reason).close_code);
    EXPECT_EQ(bench.ended(reason), 1U);
    EXPECT_FALSE(bench.presence.states["meter-1"].online);
    EXPECT_EQ(bench.presence.states["meter-1"].reason, to_string(reason));
    EXPECT_FALSE(bench.close("meter-1", reason)) << "it has gone";
  }
}

TEST(DownlinkClose, SaysThatNobodyWasThere) {
  ShardBench bench;
  EXPECT_FALSE(bench.close("nobody", EndReason::kicked));
}

// Admitted before it was disabled, and waiting for the earlier connection to let go.
TEST(DownlinkClose, OfADisabledDeviceTurnsAwayWhoWaitsForItToo) {
  for (const EndReason reason : {EndReason::device_disabled, EndReason::kicked}) {
    ShardBench bench(2);
    const std::uint32_t home = static_cast<std::uint32_t>(home_shard("meter-1", 2));
    TestDevice old(bench, 1 - home);
    old.connect("meter-1", 1);
    TestDevice fresh(bench, home);
    fresh.upgrade("meter-1");
    bench.admission.later = true;
    fresh.hello("meter-1", 2);
    bench.admission.asked[0].answer(Admitted{{9}});
    // The home alone: the claim waits, the old one has not heard yet.
    bench.shard(home).io().restart();
    bench.shard(home).io().poll();
    EXPECT_TRUE(bench.close("meter-1", reason) || bench.ended(EndReason::taken_over) == 1);
    const bool came = bench.presence.states["meter-1"].online;
    EXPECT_EQ(came, reason == EndReason::kicked) << to_string(reason);
    EXPECT_EQ(fresh.close_code().value_or(0), came ? 0 : info(reason).close_code);
  }
}

}  // namespace
}  // namespace fieldgate::test
