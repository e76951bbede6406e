// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/ownership.h"

#include "tests/unit/core/ownership_fixture.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate {
namespace {

TEST_F(OwnershipTest, GrantsAnUnownedDeviceAtOnceAndSaysItIsOnline) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1), {"fw1", {}}), now);
  ASSERT_EQ(recorder.grants.size(), 1U);
  EXPECT_EQ(recorder.grants[0].to, session(1));
  EXPECT_EQ(recorder.grants[0].state->profile.firmware, "fw1");
  ASSERT_EQ(recorder.presences.size(), 1U);
  EXPECT_TRUE(recorder.presences[0].online);
}

TEST_F(OwnershipTest, GrantsATakeoverOnlyWhenTheOldOwnerHasLetGo) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  ownership.claim(id("d"), by(session(2)), now);
  EXPECT_EQ(recorder.grants.size(), 1U) << "the old owner may still have records on their way";
  ASSERT_EQ(recorder.fences.size(), 1U);
  EXPECT_EQ(recorder.fences[0].first, session(1));

  auto first = std::move(recorder.grants[0]);
  ownership.release(first.epoch, std::move(first.state), ended(EndReason::taken_over));
  ASSERT_EQ(recorder.grants.size(), 2U);
  EXPECT_EQ(recorder.grants[1].to, session(2));
  EXPECT_GT(recorder.grants[1].epoch, first.epoch);
}

TEST_F(OwnershipTest, IgnoresALateDisconnectOfAnOldEpoch) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  const Epoch old = recorder.grants[0].epoch;
  ownership.release(old, std::move(recorder.grants[0].state), ended(EndReason::bye));
  ownership.claim(id("d"), by(session(2)), now);
  const std::size_t before = recorder.presences.size();
  ownership.release(old, std::make_unique<DeviceState>(id("d"), 0), ended(EndReason::unclean_close));
  EXPECT_EQ(recorder.presences.size(), before) << "a late disconnect must never overwrite a reconnect";
  ASSERT_TRUE(ownership.find(id("d")));
  EXPECT_EQ(ownership.find(id("d"))->owner, session(2));
}

TEST_F(OwnershipTest, OfTwoThatWaitTheLaterWins) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  ownership.claim(id("d"), by(session(2)), now);
  ownership.claim(id("d"), by(session(3)), now);
  ASSERT_EQ(recorder.refusals.size(), 1U);
  EXPECT_EQ(recorder.refusals[0], std::make_pair(session(2), EndReason::taken_over));
  EXPECT_EQ(recorder.fences.size(), 1U);
  ownership.release(recorder.grants[0].epoch, std::move(recorder.grants[0].state), ended(EndReason::taken_over));
  EXPECT_EQ(recorder.grants.back().to, session(3));
}

TEST_F(OwnershipTest, TellsAClaimantToRetryWhenFencingTakesTooLong) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  ownership.claim(id("d"), by(session(2)), now);
  EXPECT_TRUE(ownership.expire(now + 999ms));
  EXPECT_TRUE(recorder.refusals.empty());
  EXPECT_FALSE(ownership.expire(now + 1'000ms));
  ASSERT_EQ(recorder.refusals.size(), 1U);
  EXPECT_EQ(recorder.refusals[0], std::make_pair(session(2), EndReason::takeover_timeout));
}

TEST_F(OwnershipTest, RefusesAnIdThatChangesHandsTooOften) {
  Ownership ownership = make({.takeovers_per_minute = 3});
  ownership.claim(id("d"), by(session(0)), now);
  for (std::uint32_t i = 1; i <= 3; ++i) {
    ownership.claim(id("d"), by(session(i)), now);
    auto& last = recorder.grants.back();
    ownership.release(last.epoch, std::move(last.state), ended(EndReason::taken_over));
  }
  EXPECT_TRUE(recorder.refusals.empty());
  ownership.claim(id("d"), by(session(4)), now);
  ASSERT_EQ(recorder.refusals.size(), 1U);
  EXPECT_EQ(recorder.refusals[0], std::make_pair(session(4), EndReason::takeover_rate));
  ownership.claim(id("d"), by(session(5)), now + 20s);
  EXPECT_EQ(recorder.refusals.size(), 1U) << "the budget refills";
}

TEST_F(OwnershipTest, RefusesAnIdThatComesAndGoesTooOften) {
  Ownership ownership = make({.takeovers_per_minute = 3});
  const auto come_and_go = [&](std::uint32_t i) {
    ownership.claim(id("d"), by(session(i)), now);
    if (!recorder.refusals.empty()) return;
    auto& last = recorder.grants.back();
    ownership.release(last.epoch, std::move(last.state), ended(EndReason::bye));
  };
  for (std::uint32_t i = 0; i < 16; ++i) come_and_go(i);
  EXPECT_EQ(recorder.grants.size(), 16U) << "four times as often as it may take over, and four";
  come_and_go(16);
  ASSERT_EQ(recorder.refusals.size(), 1U);
  EXPECT_EQ(recorder.refusals[0], std::make_pair(session(16), EndReason::takeover_rate));
  EXPECT_EQ(recorder.presences.size(), 32U) << "nothing is said of it any more";
  now += 6s;
  ownership.claim(id("d"), by(session(17)), now);
  EXPECT_EQ(recorder.grants.size(), 17U) << "the budget refills";
}

TEST_F(OwnershipTest, AClaimantThatLeftIsNotGranted) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  ownership.claim(id("d"), by(session(2)), now);
  ownership.abandon(id("d"), session(2));
  ownership.release(recorder.grants[0].epoch, std::move(recorder.grants[0].state), ended(EndReason::taken_over));
  EXPECT_EQ(recorder.grants.size(), 1U);
  EXPECT_FALSE(recorder.presences.back().online);
}

TEST_F(OwnershipTest, RefusesAClaimWhoseEpochIsNotAboveTheOwners) {
  Ownership ownership = make();
  ownership.claim(id("d"), {session(1), {}, {10}}, now);
  for (const std::uint64_t late : {9, 10}) {
    ownership.claim(id("d"), {session(2), {}, {late}}, now);
    ASSERT_FALSE(recorder.refusals.empty());
    EXPECT_EQ(recorder.refusals.back(), std::make_pair(session(2), EndReason::taken_over));
  }
  EXPECT_TRUE(recorder.fences.empty()) << "a connection from before must not end the present one";
  ownership.release({10}, std::move(recorder.grants[0].state), ended(EndReason::bye));
  ownership.claim(id("d"), {session(3), {}, {10}}, now);
  EXPECT_EQ(recorder.refusals.back(), std::make_pair(session(3), EndReason::taken_over)) << "nor come after it";
  EXPECT_EQ(recorder.grants.size(), 1U);
}

TEST_F(OwnershipTest, AStaleClaimTakesNothingFromTheTakeoverBudget) {
  Ownership ownership = make({.takeovers_per_minute = 1});
  ownership.claim(id("d"), {session(1), {}, {10}}, now);
  for (int i = 0; i < 5; ++i) ownership.claim(id("d"), {session(2), {}, {9}}, now);
  ownership.claim(id("d"), {session(3), {}, {11}}, now);
  EXPECT_EQ(recorder.fences.size(), 1U);
}

TEST_F(OwnershipTest, OfTwoThatWaitTheOneWithTheGreaterEpochWins) {
  Ownership ownership = make();
  ownership.claim(id("d"), {session(1), {}, {10}}, now);
  ownership.claim(id("d"), {session(3), {}, {12}}, now);
  ownership.claim(id("d"), {session(2), {}, {11}}, now);
  ASSERT_EQ(recorder.refusals.size(), 1U);
  EXPECT_EQ(recorder.refusals[0], std::make_pair(session(2), EndReason::taken_over));
  ownership.release({10}, std::move(recorder.grants[0].state), ended(EndReason::taken_over));
  EXPECT_EQ(recorder.grants.back().to, session(3));
  EXPECT_EQ(recorder.grants.back().epoch, Epoch{12}) << "the epoch that it came with";
}

TEST_F(OwnershipTest, SaysByWhomAnOwnerIsFenced) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  ownership.claim(id("d"), by(session(2)), now);
  EXPECT_EQ(recorder.fenced_by, std::vector<std::string>{"peer-2"});
}

TEST_F(OwnershipTest, TurnsAwayWhoWaitsAndLeavesTheOwner) {
  Ownership ownership = make();
  ownership.turn_away(id("d"), EndReason::device_disabled);
  ownership.claim(id("d"), by(session(1)), now);
  ownership.turn_away(id("d"), EndReason::device_disabled);
  EXPECT_TRUE(recorder.refusals.empty());
  ownership.claim(id("d"), by(session(2)), now);
  ownership.turn_away(id("d"), EndReason::device_disabled);
  ASSERT_EQ(recorder.refusals.size(), 1U);
  EXPECT_EQ(recorder.refusals[0], std::make_pair(session(2), EndReason::device_disabled));
  ownership.release(recorder.grants[0].epoch, std::move(recorder.grants[0].state), ended(EndReason::taken_over));
  EXPECT_EQ(recorder.grants.size(), 1U);
}

TEST_F(OwnershipTest, KeepsWhatWasForwardedWhileTheStateWasAway) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  auto& state = recorder.grants[0].state;
  state->streams.open({7}, {1}, {0})->received = {9};
  EXPECT_EQ(ownership.staged("d", {7}, AckStage::forwarded, {5}), session(1)) << "the owner must be told";
  ownership.release(recorder.grants[0].epoch, std::move(state), ended(EndReason::bye));
  EXPECT_EQ(ownership.staged("d", {7}, AckStage::forwarded, {8}), std::nullopt);
  ownership.claim(id("d"), by(session(2)), now);
  EXPECT_EQ(recorder.grants.back().state->streams.find({7})->forwarded, Seq{8});
}

TEST_F(OwnershipTest, WhatReachedAStageWhileTheStateWasOnItsWayIsMarkedWhenItArrives) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  auto& state = recorder.grants[0].state;
  state->streams.open({7}, {1}, {0})->received = {9};
  state->streams.open({8}, {1}, {0})->received = {90};
  ownership.staged("d", {7}, AckStage::spooled, {6});
  ownership.staged("d", {7}, AckStage::forwarded, {5});
  ownership.staged("d", {8}, AckStage::spooled, {80});
  ownership.staged("d", {8}, AckStage::spooled, {70});
  // The session was told the same, or has gone before it could be.
  ownership.release(recorder.grants[0].epoch, std::move(state), ended(EndReason::bye));
  const auto found = ownership.find(id("d"));
  ASSERT_TRUE(found && found->parked != nullptr);
  const auto& streams = found->parked->streams.all();
  EXPECT_EQ(streams[0].spooled, Seq{80});
  EXPECT_EQ(streams[0].forwarded, Seq{0});
  EXPECT_EQ(streams[1].spooled, Seq{6});
  EXPECT_EQ(streams[1].forwarded, Seq{5});
}

// After an outage the records of streams that the device has left for good come first.
TEST_F(OwnershipTest, OfMoreThanTwoStreamsTheOnesMarkedLastAreKept) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  auto& state = recorder.grants[0].state;
  state->streams.open({8}, {1}, {0})->received = {9};
  state->streams.open({9}, {1}, {0})->received = {3};
  ownership.staged("d", {7}, AckStage::forwarded, {1'000});
  ownership.staged("d", {8}, AckStage::forwarded, {9});
  ownership.staged("d", {9}, AckStage::forwarded, {2});
  ownership.staged("d", {9}, AckStage::forwarded, {3});
  ownership.release(recorder.grants[0].epoch, std::move(state), ended(EndReason::bye));
  ownership.claim(id("d"), by(session(2)), now);
  StreamTable& streams = recorder.grants.back().state->streams;
  EXPECT_EQ(streams.find({8})->forwarded, Seq{9});
  EXPECT_EQ(streams.find({9})->forwarded, Seq{3});
}

// --- what an earlier process left

TEST_F(OwnershipTest, SaysTheEndOfARestoredDeviceOnceAndBeforeItsNextBeginning) {
  Ownership ownership = make();
  for (const char* name : {"a", "b", "c", "quiet"}) {
    ownership.restore(std::make_unique<DeviceState>(id(name), 1'024), {50}, name != std::string("quiet"));
  }
  EXPECT_TRUE(recorder.presences.empty());
  EXPECT_EQ(ownership.find(id("a"))->last_end, EndReason::node_lost);
  EXPECT_EQ(ownership.find(id("quiet"))->last_end, std::nullopt);
  ownership.claim(id("b"), by(session(1)), now);
  ASSERT_EQ(recorder.presences.size(), 2U);
  EXPECT_FALSE(recorder.presences[0].online);
  EXPECT_EQ(recorder.presences[0].epoch, Epoch{50});
  EXPECT_EQ(recorder.presences[0].reason, EndReason::node_lost);
  EXPECT_TRUE(recorder.presences[1].online);
  EXPECT_EQ(recorder.presences[1].epoch, Epoch{101});
  while (ownership.tell_ends(1) > 0) {
  }
  ASSERT_EQ(recorder.presences.size(), 4U);
  EXPECT_EQ(std::set<std::string>({recorder.presences[2].device, recorder.presences[3].device}),
            std::set<std::string>({"a", "c"}));
}

TEST_F(OwnershipTest, AClaimThatIsRefusedLeavesTheEndOfARestoredDeviceToBeSaid) {
  Ownership ownership = make();
  ownership.restore(std::make_unique<DeviceState>(id("a"), 1'024), {50}, true);
  ownership.claim(id("a"), {session(1), {}, {50}}, now);
  EXPECT_EQ(recorder.refusals.size(), 1U);
  EXPECT_TRUE(recorder.presences.empty());
  EXPECT_EQ(ownership.tell_ends(10), 0U);
  EXPECT_EQ(recorder.presences.size(), 1U);
}

TEST_F(OwnershipTest, RestoresNoMoreThanThereIsRoomForAndSaysWhatItForgets) {
  Ownership ownership = make({.devices_max = 2});
  for (const char* name : {"a", "b", "c"}) {
    ownership.restore(std::make_unique<DeviceState>(id(name), 1'024), {50}, true);
  }
  EXPECT_EQ(ownership.devices(), 2U);
  EXPECT_FALSE(ownership.find(id("a")));
  ASSERT_EQ(recorder.presences.size(), 1U) << "or nobody would ever say it";
  EXPECT_EQ(recorder.presences[0].device, "a");
  ownership.tell_ends(10);
  EXPECT_EQ(recorder.presences.size(), 3U);
}

TEST_F(OwnershipTest, ForgetsTheLongestOfflineDeviceToMakeRoom) {
  Ownership ownership = make({.devices_max = 2});
  for (const char* name : {"a", "b"}) {
    ownership.claim(id(name), by(session(1)), now);
    auto& last = recorder.grants.back();
    ownership.release(last.epoch, std::move(last.state), ended(EndReason::bye));
  }
  ownership.claim(id("a"), by(session(2)), now);  // back online: not to be forgotten
  ownership.claim(id("c"), by(session(3)), now);
  EXPECT_FALSE(ownership.find(id("b")));
  EXPECT_TRUE(ownership.find(id("a")));
}

// A model of what really happens: random claims, releases in any order, some of who is sent
// away, stale releases. Replaying the presence events must give the truth, and epochs must
// only rise; of who is awaited the truth is that it counts as online.
TEST_F(OwnershipTest, PresenceReplayedGivesTheTruthUnderRandomTakeovers) {
  std::mt19937 random(7);
  Ownership ownership = make({.takeovers_per_minute = 1'000'000, .return_patience = 100ms});
  std::map<std::string, std::pair<bool, Epoch>> replayed;
  std::size_t seen = 0;
  std::vector<Recorder::Grant> held;
  for (std::uint32_t step = 0; step < 20'000; ++step) {
    now += 10ms;
    const DeviceId device = id("d" + std::to_string(random() % 5));
    switch (random() % 4) {
      case 0:
      case 1: {
        Claim claim = by(session(step));
        if (random() % 8 == 0) claim.epoch.value -= random() % 50;  // its answer came late
        ownership.claim(device, std::move(claim), now);
        break;
      }
      case 2:
        if (!held.empty()) {
          const std::size_t i = random() % held.size();
          auto grant = std::move(held[i]);
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
          const EndReason reason = random() % 2 == 0 ? EndReason::bye : EndReason::age_max;
          ownership.release(grant.epoch, std::move(grant.state), ended(reason));
        }
        break;
      case 3:
        ownership.release({random() % 100}, std::make_unique<DeviceState>(device, 0), ended(EndReason::bye));
        break;
    }
    ownership.expire(now);
    ownership.say_overdue(now);
    for (auto& grant : recorder.grants) held.push_back(std::move(grant));
    recorder.grants.clear();
    for (; seen < recorder.presences.size(); ++seen) {
      const auto& event = recorder.presences[seen];
      auto& [online, epoch] = replayed[event.device];
      ASSERT_TRUE(event.online ? event.epoch > epoch : event.epoch == epoch && online);
      online = event.online;
      epoch = event.epoch;
    }
    for (const auto& [name, truth] : replayed) {
      const auto found = ownership.find(id(name));
      ASSERT_EQ(found->owner.has_value() || found->held, truth.first) << name << " at step " << step;
    }
  }
  std::array<int, k_hold_ends.size()> ends{};
  for (const Recorder::Hold& hold : recorder.hold_ends) ++ends[static_cast<std::size_t>(hold.how)];
  EXPECT_GT(ends[static_cast<std::size_t>(HoldEnd::returned)], 100);
  EXPECT_GT(ends[static_cast<std::size_t>(HoldEnd::said)], 100);
}

}  // namespace
}  // namespace fieldgate
