// SPDX-License-Identifier: Apache-2.0
//
// How a device gets, keeps and loses its connection.
#include "tests/sim/device.h"

#include "tests/unit/sim/fake_link.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fieldgate::sim {
namespace {

TEST_F(DeviceTest, SaysHelloFirstWithWhereItsBufferStands) {
  settings_.stage = v1::ACK_STAGE_ACCEPTED;
  settings_.heartbeat_seconds = 12;
  settings_.labels = {{"site", "north"}};
  make();
  open();
  ASSERT_EQ(link_.sent.size(), 1u);
  EXPECT_EQ(link_.sent[0].seq(), 0u);
  const v1::Hello& hello = link_.sent[0].hello();
  EXPECT_EQ(hello.device_id(), "sim-000001");
  EXPECT_NE(hello.stream_id(), 0u);
  EXPECT_EQ(hello.oldest_seq(), 0u);
  EXPECT_EQ(hello.last_seq(), 0u);
  EXPECT_EQ(hello.ack_stage(), v1::ACK_STAGE_ACCEPTED);
  EXPECT_EQ(hello.heartbeat_seconds(), 12u);
  EXPECT_EQ(hello.labels().at("site"), "north");
}

TEST_F(DeviceTest, KeepsItsStreamAcrossALossAndSaysWhatItHolds) {
  make();
  open();
  const std::uint64_t stream = link_.sent.at(0).hello().stream_id();
  receive(welcome());
  pass(k_second_us);
  ack(3);
  device_->on_lost(Loss::reset, now_);
  link_.sent.clear();
  pass(k_second_us);
  device_->on_open(now_);
  const v1::Hello& hello = link_.sent.at(0).hello();
  EXPECT_EQ(hello.stream_id(), stream);
  EXPECT_EQ(hello.oldest_seq(), 4u);
  EXPECT_GT(hello.last_seq(), 10u);  // it went on making frames
  EXPECT_EQ(hello.last_seq(), device_->ledger_entry().given);
}

TEST_F(DeviceTest, BacksOffWithFullJitterThatDoublesUpToItsLimit) {
  settings_.backoff_max_us = 20 * k_second_us;
  std::vector<std::int64_t> most(8, 0);
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    make(seed);
    for (std::size_t attempt = 0; attempt < most.size(); ++attempt) {
      pass(std::max<std::int64_t>(0, delay_us()));
      ASSERT_EQ(device_->phase(), Device::Phase::connecting);
      device_->on_lost(Loss::connect_refused, now_);
      ASSERT_LE(delay_us(), std::min<std::int64_t>(20, 1LL << attempt) * k_second_us);
      most[attempt] = std::max(most[attempt], delay_us());
    }
  }
  // Full jitter: with 300 draws the longest comes close to the limit.
  for (std::size_t attempt = 0; attempt < most.size(); ++attempt) {
    EXPECT_GT(most[attempt], std::min<std::int64_t>(20, 1LL << attempt) * k_second_us * 9 / 10) << attempt;
  }
}

TEST_F(DeviceTest, AConnectionThatHeldWipesOutEarlierFailures) {
  make();
  for (int i = 0; i < 6; ++i) {
    pass(std::max<std::int64_t>(0, delay_us()));
    device_->on_lost(Loss::connect_refused, now_);
  }
  pass(delay_us());
  device_->on_open(now_);
  receive(welcome());
  pass(11 * k_second_us);
  device_->on_lost(Loss::reset, now_);
  EXPECT_LE(delay_us(), settings_.backoff_base_us);
}

TEST_F(DeviceTest, WaitsAsLongAsGoodbyeSaysAndSendsNothingAfterIt) {
  std::int64_t longest = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    link_ = FakeLink();
    make(seed);
    go_online();
    goodbye(v1::GOODBYE_REASON_DRAIN, 30'000);
    pass(k_second_us);
    ASSERT_TRUE(link_.take_seqs().empty());
    device_->on_lost(Loss::closed_by_gateway, now_);
    device_->stop_making();
    ASSERT_LE(delay_us(), 30 * k_second_us);
    longest = std::max(longest, delay_us());
  }
  EXPECT_GT(longest, 25 * k_second_us);
}

TEST_F(DeviceTest, BacksOffLongWhenItWasTakenOver) {
  make();
  go_online();
  goodbye(v1::GOODBYE_REASON_TAKEN_OVER);
  device_->on_lost(Loss::closed_by_gateway, now_);
  device_->stop_making();
  EXPECT_GE(delay_us(), settings_.backoff_max_us / 2);
  EXPECT_EQ(stats().goodbyes.at("GOODBYE_REASON_TAKEN_OVER"), 1u);
}

TEST_F(DeviceTest, StartsAnotherStreamWhenItsOwnIsReused) {
  make();
  go_online();
  pass(k_second_us);
  ack(4);
  const StreamEntry before = device_->ledger_entry();
  const std::uint64_t held = device_->unacked();
  ASSERT_GT(held, 0u);
  goodbye(v1::GOODBYE_REASON_STREAM_REUSED);
  device_->on_lost(Loss::closed_by_gateway, now_);
  ASSERT_EQ(context_->closed_streams.size(), 1u);
  EXPECT_EQ(context_->closed_streams[0], before);
  const StreamEntry after = device_->ledger_entry();
  EXPECT_NE(after.stream, before.stream);
  EXPECT_EQ(after.given, held);  // what was in hand goes again, under new numbers
  EXPECT_EQ(after.acked, 0u);
}

TEST_F(DeviceTest, WaitsItsTurnWhereTooManyAreConnecting) {
  settings_.connecting_max = 2;
  make();
  context_->connecting = 2;
  pass(k_second_us);
  EXPECT_EQ(link_.connects, 0);
  ASSERT_EQ(context_->queue.size(), 1u);
  context_->connecting = 1;
  EXPECT_TRUE(device_->admit(now_));
  EXPECT_EQ(link_.connects, 1);
  EXPECT_EQ(context_->connecting, 2u);
  EXPECT_FALSE(device_->admit(now_));
}

TEST_F(DeviceTest, GivesItsPlaceBackHoweverTheAttemptEnds) {
  make();
  pass(0);
  EXPECT_EQ(context_->connecting, 1u);
  device_->on_lost(Loss::connect_refused, now_);
  EXPECT_EQ(context_->connecting, 0u);
  pass(k_second_us);
  device_->on_open(now_);
  EXPECT_EQ(context_->connecting, 1u);
  receive(welcome());
  EXPECT_EQ(context_->connecting, 0u);
  device_->on_lost(Loss::reset, now_);
  EXPECT_EQ(context_->connecting, 0u);
  pass(4 * k_second_us);
  EXPECT_EQ(context_->connecting, 1u);
  device_->abandon(now_);
  EXPECT_EQ(context_->connecting, 0u);
}

TEST_F(DeviceTest, GivesUpWhenWelcomeDoesNotCome) {
  make();
  open();
  pass(settings_.welcome_timeout_us);
  EXPECT_EQ(link_.resets, 1);
  EXPECT_EQ(device_->phase(), Device::Phase::waiting);
  EXPECT_EQ(stats().losses[static_cast<std::size_t>(Loss::welcome_timeout)], 1u);
}

TEST_F(DeviceTest, PingsAQuietGatewayAndGivesItUpAtTwoAndAHalfHeartbeats) {
  settings_.profile = Profile::silent;
  make();
  go_online();
  pass(30 * k_second_us);
  EXPECT_EQ(link_.pings, 1);
  pass(44 * k_second_us);
  EXPECT_EQ(link_.pings, 1);
  EXPECT_TRUE(device_->online());
  pass(k_second_us);
  EXPECT_EQ(stats().losses[static_cast<std::size_t>(Loss::heartbeat_lost)], 1u);
  EXPECT_FALSE(device_->online());
}

TEST_F(DeviceTest, AnyWordFromTheGatewayKeepsTheLinkAlive) {
  settings_.profile = Profile::silent;
  make();
  go_online();
  for (int i = 0; i < 20; ++i) {
    pass(29 * k_second_us);
    device_->on_heard(now_);
  }
  EXPECT_EQ(link_.pings, 0);
  EXPECT_TRUE(device_->online());
}

TEST_F(DeviceTest, FlappingDisconnectsCleanlyAndNotAndComesBackSoon) {
  settings_.profile = Profile::flapping;
  make();
  pass(0);
  for (int i = 0; i < 60; ++i) {
    if (device_->phase() == Device::Phase::connecting) {
      device_->on_open(now_);
      receive(welcome(device_->ledger_entry().acked, device_->ledger_entry().acked));
    }
    while (device_->online()) pass(100 * k_ms);
    if (device_->phase() == Device::Phase::closing) device_->on_lost(Loss::closed_by_device, now_);
    pass(settings_.return_within_us);
  }
  EXPECT_GT(link_.resets, 5);
  EXPECT_GT(link_.drops, 5);
  EXPECT_GT(stats().losses[static_cast<std::size_t>(Loss::closed_by_device)], 5u);
  EXPECT_EQ(stats().reconnects, 59u);
}

TEST_F(DeviceTest, AStormDropsAllDevicesAtTheSameMoment) {
  settings_.profile = Profile::storm;
  settings_.storm_every_us = 15 * k_second_us;
  make();
  device_->start(now_.mono_us + 2 * k_second_us, now_.mono_us);
  const std::int64_t epoch = now_.mono_us;
  pass(2 * k_second_us);
  go_online();
  while (device_->online()) pass(k_ms);
  EXPECT_EQ(now_.mono_us, epoch + 15 * k_second_us);
  EXPECT_EQ(link_.resets, 1);
}

TEST_F(DeviceTest, NoProfileDisturbsTheDeliveryAtTheEnd) {
  for (const Profile profile : {Profile::flapping, Profile::storm}) {
    settings_.profile = profile;
    make();
    go_online();
    device_->stop_making();
    for (int i = 0; i < 10; ++i) {
      pass(20 * k_second_us);
      device_->on_heard(now_);
    }
    EXPECT_TRUE(device_->online());
  }
}

TEST_F(DeviceTest, FarewellIsByeAndCloseAndThenItIsFinished) {
  make();
  go_online();
  device_->finish(now_);
  ASSERT_FALSE(link_.sent.empty());
  EXPECT_TRUE(link_.sent.back().has_bye());
  EXPECT_EQ(link_.closed_with, 1000);
  EXPECT_FALSE(device_->finished());
  device_->on_lost(Loss::closed_by_device, now_);
  EXPECT_TRUE(device_->finished());
  EXPECT_EQ(device_->next_wake_us(), k_never_us);
}

TEST_F(DeviceTest, FinishesAtOnceWhereThereIsNoConnection) {
  make();
  device_->finish(now_);
  EXPECT_TRUE(device_->finished());
  make();
  open();
  device_->abandon(now_);
  EXPECT_TRUE(device_->finished());
  EXPECT_EQ(link_.resets, 1);
}

}  // namespace
}  // namespace fieldgate::sim
