// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fleet_world.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

// Commands where several nodes share a store.
namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Outcome = CommandResultReply::Outcome;

struct CommandFleet : testing::Test, FleetWorld {
  CommandFleet() { add("pump"); }

  void says(const std::string& to, DeviceReply reply, Epoch epoch) {
    say("pump", to, std::move(reply), epoch);
    settle();
  }
  std::string cancel(const std::string& at, const std::string& id) {
    Asked<CommandEntry> answer;
    node(at).commands->cancel(id, "api:ann", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return answer->has_value() ? std::string(to_string((*answer)->state)) : answer->error().code.message();
  }
  auto asked_to_cancel() const {
    return std::ranges::count_if(
        received, [](const Received& each) { return std::holds_alternative<CommandCancelFrame>(each.message); });
  }
  // What other nodes, or earlier processes, have left of a device that is nowhere: queued, and
  // being handed over if `epoch` is not 0.
  void put(std::string id, std::chrono::seconds ttl = 600s, std::chrono::seconds timeout = 600s, Epoch epoch = {}) {
    CommandEntry left{.id = std::move(id), .device = device_id("nowhere"), .name = "left"};
    left.created_unix_ms = clock.unix_ms();
    left.expires_unix_ms = clock.unix_ms() + std::chrono::milliseconds(ttl).count();
    left.timeout_ms = static_cast<std::uint32_t>(std::chrono::milliseconds(timeout).count());
    left.steps.push_back({CommandState::queued, clock.unix_ms()});
    if (epoch != Epoch{}) left.steps.push_back({CommandState::queued, clock.unix_ms(), epoch});
    ASSERT_TRUE(store->insert_command(left));
  }
  CommandRequest once() {
    auto wanted = request("pump");
    wanted.at_most_once = true;
    return wanted;
  }
};

TEST_F(CommandFleet, SendsAtTheNodeThatHasTheDeviceWhatAnotherOneTook) {
  const Epoch epoch = arrive("pump", "b");
  const std::string id = submit("a", request("pump"));
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].node, "b");
  EXPECT_EQ(steps(id), "queued queued@1 sent@1");
  says("b", CommandResultReply{id, Outcome::succeeded, {}, {}}, epoch);
  EXPECT_EQ(state(id), "succeeded");
  EXPECT_EQ(times_told_final(id), 1u) << "by the node that wrote it";
}

TEST_F(CommandFleet, SendsWithinASecondOrTwoWhereNoWordArrives) {
  post_works = false;
  arrive("pump", "b");
  const std::string id = submit("a", request("pump"));
  EXPECT_EQ(times_received(id), 0u);
  EXPECT_EQ(net.count(k_peer_command_look), 1u);
  pass(2s);
  EXPECT_EQ(times_received(id), 1u);
}

TEST_F(CommandFleet, LeavesACommandForNobodyToWhomeverTheDeviceComes) {
  const std::string id = submit("a", request("pump"));
  pass(3s);
  EXPECT_EQ(state(id), "queued");
  arrive("pump", "b");
  EXPECT_EQ(times_received(id), 1u);
}

TEST_F(CommandFleet, AnswersWhoWaitsAtAnotherNodeAtOnce) {
  const Epoch epoch = arrive("pump", "b");
  const std::string id = submit("a", request("pump"));
  Asked<CommandEntry> answer;
  node("a").commands->wait(id, 10s, answer.reply());
  settle();
  ASSERT_EQ(answer.kept->count, 0);
  says("b", CommandResultReply{id, Outcome::failed, "jammed", {}}, epoch);
  ASSERT_TRUE(answer.there());
  EXPECT_EQ((*answer)->state, CommandState::failed);
  EXPECT_EQ((*answer)->result_text, "jammed");
}

TEST_F(CommandFleet, AnswersWhoWaitsSoonAlsoWhereNoNewsArrive) {
  post_works = false;
  const Epoch epoch = arrive("pump", "b");
  const std::string id = submit("a", request("pump"));
  Asked<CommandEntry> answer;
  node("a").commands->wait(id, 30s, answer.reply());
  pass(2s);
  says("b", CommandResultReply{id, Outcome::succeeded, {}, {}}, epoch);
  pass(2s);
  ASSERT_TRUE(answer.there());
  EXPECT_EQ((*answer)->state, CommandState::succeeded);
}

TEST_F(CommandFleet, CancelsWhereverItIsAsked) {
  const Epoch epoch = arrive("pump", "b");
  const std::string sent = submit("a", request("pump"));
  EXPECT_EQ(cancel("a", sent), "sent");
  pass(100ms);  // nudges rest
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(std::get<CommandCancelFrame>(received[1].message).id, sent);
  says("b", CommandResultReply{sent, Outcome::cancelled, {}, {}}, epoch);
  EXPECT_EQ(state(sent), "cancelled");

  leave("pump", "b");
  const std::string queued = submit("a", request("pump"));
  EXPECT_EQ(cancel("b", queued), "cancelled");
  arrive("pump", "a");
  EXPECT_EQ(times_received(queued), 0u);
}

TEST_F(CommandFleet, AsksToCancelAtTheNextNodeWhatTheDeviceTookAtTheLast) {
  arrive("pump", "b");
  const std::string id = submit("b", request("pump"));
  leave("pump", "b");
  EXPECT_EQ(cancel("a", id), "sent");
  received.clear();
  arrive("pump", "a");
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(std::get<CommandCancelFrame>(received[0].message).id, id);
}

TEST_F(CommandFleet, SendsAgainAtTheNextNodeWhatWasNotAcknowledgedAndNotWhatIsAtMostOnce) {
  arrive("pump", "b");
  const std::string ordinary = submit("a", request("pump"));
  const std::string single = submit("a", once());
  leave("pump", "b");
  arrive("pump", "a");
  EXPECT_EQ(times_received(ordinary), 2u);
  EXPECT_EQ(times_received(single), 1u);
}

TEST_F(CommandFleet, HandsOverAtOneNodeOnlyWhileTheDeviceSeemsToBeAtTwo) {
  const std::string id = submit("a", once());
  node("a").hold = node("b").hold = true;
  connect("pump", "a");
  connect("pump", "b");
  settle();
  EXPECT_EQ(node("a").held.size() + node("b").held.size(), 1u);
  node("a").release();
  node("b").release();
  pass(40s);
  EXPECT_EQ(times_received(id), 1u);
}

TEST_F(CommandFleet, SendsAtTheNextNodeWhatTheLastOneSaysNobodyTook) {
  const std::string id = submit("a", once());
  node("b").hold = true;
  connect("pump", "b");
  settle();
  ASSERT_EQ(node("b").held.size(), 1u);
  disconnect("pump", "b");
  arrive("pump", "a");
  EXPECT_EQ(times_received(id), 0u) << "the other may have sent it";
  node("b").release();
  settle();
  EXPECT_EQ(times_received(id), 1u);
  EXPECT_EQ(received.back().node, "a");
}

TEST_F(CommandFleet, CancelsWhatWasWishedCancelledWhileTheNodeThatTheDeviceLeftHadItInHand) {
  for (const bool told : {false, true}) {
    SCOPED_TRACE(told);
    const std::string id = submit("a", request("pump"));
    node("b").hold = true;
    connect("pump", "b");
    settle();
    ASSERT_EQ(node("b").held.size(), 1u);
    disconnect("pump", "b");
    post_works = told;
    EXPECT_EQ(cancel("a", id), "queued") << "the device may have it";
    node("b").release();
    settle();
    EXPECT_EQ(state(id), "cancelled");
    post_works = true;
    arrive("pump", "a");
    EXPECT_EQ(times_received(id), 0u);
    leave("pump", "a");
    node("b").hold = false;
  }
}

TEST_F(CommandFleet, TouchesNothingAtItsStartThatAnotherNodeIsHandingOver) {
  arrive("pump", "b");
  node("b").hold = true;
  auto wanted = request("pump");
  wanted.ttl = 2s;
  const std::string id = submit("a", wanted);
  node("a").kill();
  node("a").boot();
  pass(5s);
  EXPECT_EQ(steps(id), "queued queued@1") << "not expired: it may have been sent";
  node("b").release();
  settle();
  EXPECT_EQ(steps(id), "queued queued@1 sent@1");
}

TEST_F(CommandFleet, EndsWhatIsOverdueOnceAndTellsItOnce) {
  auto wanted = request("pump");
  wanted.ttl = 2s;
  const std::string queued = submit("a", wanted);
  arrive("pump", "b");
  const std::string sent = submit("a", [&] {
    auto other = request("pump");
    other.timeout = 3s;
    return other;
  }());
  const Epoch epoch{epochs};
  say("pump", "b", CommandResultReply{queued, Outcome::succeeded, {}, {}}, epoch);
  settle();
  leave("pump", "b");
  const std::string late = submit("a", wanted);
  pass(6s);
  EXPECT_EQ(state(queued), "succeeded");
  EXPECT_EQ(state(sent), "timed_out");
  EXPECT_EQ(state(late), "expired");
  for (const std::string& id : {queued, sent, late}) EXPECT_EQ(times_told_final(id), 1u) << id;
}

TEST_F(CommandFleet, GoesOnWhereTheOwnerWasKilledInTheMiddle) {
  arrive("pump", "b");
  node("b").hold_answers = true;
  const std::string ordinary = submit("a", request("pump"));
  ASSERT_EQ(times_received(ordinary), 1u);
  node("b").kill();
  const Epoch epoch = arrive("pump", "a");
  EXPECT_EQ(times_received(ordinary), 2u);
  says("a", CommandResultReply{ordinary, Outcome::succeeded, {}, {}}, epoch);
  EXPECT_EQ(state(ordinary), "succeeded");
}

TEST_F(CommandFleet, ExpiresAtOnceWhatIsNotToWaitAndWhoseDeviceIsNowhere) {
  auto wanted = request("pump");
  wanted.ttl = 0ms;
  const std::string nowhere = submit("a", wanted);
  EXPECT_EQ(state(nowhere), "expired");
  arrive("pump", "b");
  EXPECT_EQ(state(submit("a", wanted)), "sent");
}

TEST_F(CommandFleet, CountsWhatIsQueuedByAllNodes) {
  command_settings.queued_per_device_max = 3;
  for (const std::string name : {"a", "b"}) {
    node(name).kill();
    node(name).boot();
  }
  for (const std::string at : {"a", "b", "a"}) EXPECT_EQ(state(submit(at, request("pump"))), "queued");
  EXPECT_EQ(submit("b", request("pump")), make_error_code(Errc::full).message());
}

TEST_F(CommandFleet, LooksAtMostAtWhatIsThereHoweverMuchIsForged) {
  arrive("pump", "b");
  settle();
  const auto calls = node("b").faults->calls;
  auto& inbox = net.node("b");
  for (int i = 0; i < 10'000; ++i) {
    inbox.take({"evil", "b", std::string(k_peer_command_look), "device-" + std::to_string(i)});
    inbox.take({"evil", "b", std::string(k_peer_command_news), "command-" + std::to_string(i)});
  }
  inbox.take({"evil", "b", std::string(k_peer_command_look), std::string(100'000, 'x')});
  inbox.take({"evil", "b", std::string(k_peer_command_look), std::string("\0+#/\xFF", 5)});
  for (int i = 0; i < 1'000; ++i) inbox.take({"evil", "b", std::string(k_peer_command_look), "pump"});
  settle();
  EXPECT_LE(node("b").faults->calls - calls, 8u) << "one look at the one device that is there";
  EXPECT_TRUE(received.empty());
}

TEST_F(CommandFleet, PushesWhatIsDesiredAtTheNodeThatHasTheDevice) {
  arrive("pump", "b");
  Asked<Twin> answer;
  node("a").twins->set_desired(device_id("pump"), R"({"speed":3})", false, {}, "ann", answer.reply());
  settle();
  ASSERT_TRUE(answer.there());
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].node, "b");
  EXPECT_EQ(std::get<DesiredFrame>(received[0].message).json, R"({"speed":3})");
}

TEST_F(CommandFleet, TellsTheOwnerAgainOfWhatIsDesiredAsLongAsItIsNotAcknowledged) {
  post_works = false;
  const Epoch epoch = arrive("pump", "b");
  Asked<Twin> answer;
  node("a").twins->set_desired(device_id("pump"), R"({"speed":3})", false, {}, "ann", answer.reply());
  settle();
  EXPECT_EQ(net.count(k_peer_twin_look), 1u);
  net.letters.clear();
  pass(3s);
  ASSERT_EQ(net.count(k_peer_twin_look), 1u);
  net.deliver(0);
  settle();
  EXPECT_EQ(received.size(), 1u);
  says("b", DesiredAckReply{1, {}}, epoch);
  pass(120s);
  EXPECT_EQ(net.count(k_peer_twin_look), 0u);
}

TEST_F(CommandFleet, AsksToCancelWhereTheWishIsSeenAsItsSendingIsWrittenDown) {
  add("late-wish");
  arrive("late-wish", "b");
  node("b").hold_answers = true;
  const std::string id = submit("a", request("late-wish"));
  ASSERT_EQ(times_received(id), 1U);
  post_works = false;
  Asked<CommandEntry> answer;
  node("a").commands->cancel(id, "api:ann", answer.reply());
  settle();
  net.lose();
  node("b").release();
  settle();
  EXPECT_EQ(asked_to_cancel(), 1);
}

TEST_F(CommandFleet, AsksToCancelWhereTheWishIsSeenAsItsAcknowledgementIsWrittenDown) {
  const Epoch epoch = arrive("pump", "b");
  const std::string id = submit("a", request("pump"));
  ASSERT_EQ(times_received(id), 1U);
  post_works = false;
  EXPECT_EQ(cancel("a", id), "sent") << "the device has it, and decides";
  net.lose();
  EXPECT_EQ(asked_to_cancel(), 0);
  says("b", CommandAckReply{id}, epoch);
  EXPECT_EQ(state(id), "acknowledged");
  EXPECT_EQ(asked_to_cancel(), 1);
}

TEST_F(CommandFleet, AsksToCancelWhereTheWishIsSeenAsItIsToBeSentAgain) {
  command_settings.resend_after = 1s;
  node("b").kill();
  node("b").boot();
  // So much is open that the walk comes by in three seconds only.
  for (std::size_t i = 0; i < 2 * CommandDesk::k_round_refs; ++i) put("00-" + std::to_string(10'000 + i));
  pass(200ms);
  arrive("pump", "b");
  const std::string id = submit("a", request("pump"));
  ASSERT_EQ(times_received(id), 1U);
  post_works = false;
  EXPECT_EQ(cancel("a", id), "sent");
  net.lose();
  EXPECT_EQ(asked_to_cancel(), 0);
  pass(1200ms);
  EXPECT_EQ(asked_to_cancel(), 1);
  pass(5s);
  EXPECT_EQ(asked_to_cancel(), 1);
  EXPECT_EQ(times_received(id), 1U) << "what is wished cancelled is not sent again";
}

TEST_F(CommandFleet, AsksToCancelWithinASecondOrTwoWhatTheDeviceHasThoughNoWordArrives) {
  const Epoch epoch = arrive("pump", "b");
  const std::string id = submit("a", request("pump"));
  says("b", CommandAckReply{id}, epoch);
  ASSERT_EQ(state(id), "acknowledged");
  post_works = false;
  EXPECT_EQ(cancel("a", id), "acknowledged");
  net.lose();
  EXPECT_EQ(asked_to_cancel(), 0);
  pass(2s);
  EXPECT_EQ(asked_to_cancel(), 1);
  pass(5s);
  EXPECT_EQ(asked_to_cancel(), 1) << "once per connection";
}

// A node that was killed amid a command to the whole fleet.
TEST_F(CommandFleet, ExpiresWhatIsBehindManyOfWhichNobodyKnowsYet) {
  for (std::size_t i = 0; i < CommandDesk::k_page; ++i) put("00-" + std::to_string(10'000 + i), 1s, 20s, Epoch{i + 1});
  put("01-plain", 1s);
  pass(3s);
  EXPECT_EQ(state("01-plain"), "expired");
  EXPECT_EQ(state("00-10000"), "queued") << "it may have been sent";
  pass(20s);
  for (const std::string id : {"00-10000", "00-10199"}) EXPECT_EQ(state(id), "timed_out");
}

}  // namespace
}  // namespace fieldgate::control
