// SPDX-License-Identifier: Apache-2.0
//
// Ends of connections that are held for the device's return.
#include "tests/unit/core/ownership_fixture.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace fieldgate {
namespace {

struct OwnershipHold : OwnershipTest {
  // Let in, and sent away for `reason`.
  Epoch send_away(Ownership& ownership, const std::string& name, EndReason reason) {
    ownership.claim(id(name), by(session(1)), now);
    auto grant = std::move(recorder.grants.back());
    ownership.release(grant.epoch, std::move(grant.state), ended(reason));
    return grant.epoch;
  }
  // Of all that was said since: online of each is one.
  std::size_t said() const { return recorder.presences.size(); }

  const OwnershipLimits peers{.peers = true};
};

TEST_F(OwnershipHold, OfWhoIsSentAwayForItsAgeAndComesBackNothingIsSaidButThatItIsOnline) {
  Ownership ownership = make();
  const Epoch first = send_away(ownership, "d", EndReason::age_max);
  EXPECT_EQ(said(), 1U);
  EXPECT_EQ(ownership.held(), 1U);
  EXPECT_TRUE(ownership.find(id("d"))->held);
  EXPECT_EQ(ownership.find(id("d"))->parked->since_unix_ms, 1'000) << "it counts as online, since it came";
  ownership.say_overdue(now + 9'999ms);
  ownership.claim(id("d"), by(session(2)), now + 9'999ms);
  ASSERT_EQ(said(), 2U);
  EXPECT_TRUE(recorder.presences[1].online);
  EXPECT_GT(recorder.presences[1].epoch, first);
  EXPECT_EQ(recorder.hold_ends, (std::vector<Recorder::Hold>{{"d", first, HoldEnd::returned, k_end_unix_ms}}));
  ownership.say_overdue(now + 1h);
  ownership.hold_no_more();
  EXPECT_EQ(said(), 2U) << "nor later";
  EXPECT_EQ(ownership.held(), 0U);
}

TEST_F(OwnershipHold, OfWhoDoesNotComeBackTheEndIsSaidAsItWas) {
  Ownership ownership = make();
  const Epoch epoch = send_away(ownership, "d", EndReason::age_max);
  ownership.say_overdue(now + 10s);
  ASSERT_EQ(said(), 2U);
  EXPECT_FALSE(recorder.presences[1].online);
  EXPECT_EQ(recorder.presences[1].epoch, epoch);
  EXPECT_EQ(recorder.presences[1].reason, EndReason::age_max);
  EXPECT_EQ(recorder.presences[1].since_unix_ms, k_end_unix_ms) << "not when it was said";
  EXPECT_EQ(recorder.hold_ends.back().how, HoldEnd::said);
  EXPECT_FALSE(ownership.find(id("d"))->held);
  ownership.say_overdue(now + 20s);
  ownership.claim(id("d"), by(session(2)), now + 20s);
  EXPECT_EQ(said(), 3U) << "each once";
}

TEST_F(OwnershipHold, OfWhoIsLetInByAPeerNothingIsSaidHere) {
  Ownership ownership = make(peers);
  const Epoch epoch = send_away(ownership, "d", EndReason::drain);
  EXPECT_EQ(ownership.superseded(id("d"), epoch), std::nullopt);
  EXPECT_EQ(ownership.held(), 1U) << "that is its own";
  EXPECT_EQ(ownership.superseded(id("d"), {epoch.value + 1}), std::nullopt);
  EXPECT_EQ(ownership.held(), 0U);
  ownership.say_overdue(now + 1h);
  EXPECT_EQ(said(), 1U);
  EXPECT_EQ(recorder.hold_ends, (std::vector<Recorder::Hold>{{"d", epoch, HoldEnd::elsewhere, k_end_unix_ms}}));
  EXPECT_EQ(ownership.find(id("d"))->last_end, EndReason::drain);
}

TEST_F(OwnershipHold, APeersClaimThatIsKnownBeforeTheEndIsHeardOfCountsTheSame) {
  Ownership ownership = make(peers);
  ownership.claim(id("d"), by(session(1)), now);
  auto grant = std::move(recorder.grants.back());
  EXPECT_TRUE(ownership.superseded(id("d"), {grant.epoch.value + 7}));
  ownership.release(grant.epoch, std::move(grant.state), ended(EndReason::drain));
  EXPECT_EQ(said(), 1U);
  ASSERT_EQ(recorder.hold_ends.size(), 1U);
  EXPECT_EQ(recorder.hold_ends[0].how, HoldEnd::elsewhere);
}

TEST_F(OwnershipHold, AClaimThatWaitedForTheOwnerWhoIsSentAwayIsItsReturn) {
  Ownership ownership = make();
  ownership.claim(id("d"), by(session(1)), now);
  ownership.claim(id("d"), by(session(2)), now);
  auto grant = std::move(recorder.grants.back());
  ownership.release(grant.epoch, std::move(grant.state), ended(EndReason::age_max));
  ASSERT_EQ(said(), 2U);
  EXPECT_TRUE(recorder.presences[1].online);
  EXPECT_EQ(recorder.grants.back().to, session(2));
  EXPECT_EQ(recorder.hold_ends.back().how, HoldEnd::returned);
}

// Two that come back at once: the later takes over from the sooner, as ever.
TEST_F(OwnershipHold, ATakeoverAfterTheReturnSaysItsOwnEnd) {
  Ownership ownership = make();
  send_away(ownership, "d", EndReason::age_max);
  ownership.claim(id("d"), by(session(2)), now);
  ownership.claim(id("d"), by(session(3)), now);
  auto grant = std::move(recorder.grants.back());
  ownership.release(grant.epoch, std::move(grant.state), ended(EndReason::taken_over));
  ASSERT_EQ(said(), 4U);
  EXPECT_EQ(recorder.presences[2].epoch, grant.epoch);
  EXPECT_EQ(recorder.presences[2].reason, EndReason::taken_over);
  EXPECT_TRUE(recorder.presences[3].online);
}

TEST_F(OwnershipHold, ASecondEndIsHeldForItsOwnTime) {
  Ownership ownership = make();
  send_away(ownership, "d", EndReason::age_max);
  now += 6s;
  const Epoch second = send_away(ownership, "d", EndReason::age_max);
  ownership.say_overdue(now + 4s);
  EXPECT_EQ(said(), 2U) << "the first one's time is no more its own";
  ownership.say_overdue(now + 10s);
  ASSERT_EQ(said(), 3U);
  EXPECT_EQ(recorder.presences[2].epoch, second);
}

TEST_F(OwnershipHold, NobodyIsWaitedForWhoCannotComeBackOrWasNotSentAway) {
  Ownership alone = make();
  send_away(alone, "d", EndReason::drain);
  EXPECT_EQ(said(), 2U) << "no other node lets it in while this one drains";
  Ownership ownership = make(peers);
  for (const EndReason reason : {EndReason::bye, EndReason::kicked, EndReason::heartbeat_lost, EndReason::taken_over,
                                 EndReason::credential_revoked, EndReason::connection_reset}) {
    send_away(ownership, "d", reason);
    EXPECT_EQ(recorder.presences.back().reason, reason);
    EXPECT_FALSE(recorder.presences.back().online);
  }
  EXPECT_TRUE(recorder.hold_ends.empty());
}

TEST_F(OwnershipHold, SaysAllThatIsHeldAtTheEndAndHoldsNoMoreThen) {
  Ownership ownership = make(peers);
  send_away(ownership, "a", EndReason::drain);
  send_away(ownership, "b", EndReason::age_max);
  ownership.hold_no_more();
  EXPECT_EQ(said(), 4U);
  EXPECT_EQ(ownership.held(), 0U);
  send_away(ownership, "c", EndReason::drain);
  EXPECT_EQ(said(), 6U);
  EXPECT_FALSE(recorder.presences.back().online);
}

TEST_F(OwnershipHold, SaysTheEndAtOnceOfWhoIsNotToComeBack) {
  Ownership ownership = make(peers);
  const Epoch epoch = send_away(ownership, "a", EndReason::drain);
  ownership.say_end(id("unheard-of"));
  ownership.say_end(id("a"));
  ownership.say_end(id("a"));
  ASSERT_EQ(said(), 2U);
  EXPECT_EQ(recorder.presences[1].epoch, epoch);
}

TEST_F(OwnershipHold, WhoIsForgottenForWantOfRoomIsSaidToBeOfflineFirst) {
  Ownership ownership = make({.devices_max = 2, .peers = true});
  for (const char* name : {"a", "b", "c"}) send_away(ownership, name, EndReason::drain);
  EXPECT_EQ(ownership.held(), 2U);
  ASSERT_EQ(said(), 4U);
  EXPECT_EQ(recorder.presences[2].device, "a");
  EXPECT_FALSE(recorder.presences[2].online);
  ownership.say_overdue(now + 10s);
  EXPECT_EQ(said(), 6U);
}

TEST_F(OwnershipHold, AClaimThatIsRefusedLeavesTheEndHeld) {
  Ownership ownership = make(peers);
  const Epoch epoch = send_away(ownership, "a", EndReason::drain);
  ownership.claim(id("a"), {session(2), {}, epoch}, now);
  EXPECT_EQ(recorder.refusals.size(), 1U);
  EXPECT_EQ(ownership.held(), 1U);
  ownership.say_overdue(now + 10s);
  EXPECT_EQ(said(), 2U);
}

}  // namespace
}  // namespace fieldgate
