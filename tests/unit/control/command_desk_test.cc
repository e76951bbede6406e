// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"

#include "gateway/control/command_id.h"
#include "tests/unit/control/command_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

// --- into the ledger, and out

TEST_F(CommandDeskTest, AnswersWhenTheCommandIsInTheLedgerAndOnlyThenHandsItOver) {
  connect("pump");
  std::size_t received_then = 99;
  std::string state_then;
  commands->submit(request("pump"), [&](Result<Commands::Accepted> accepted) {
    received_then = received.size();
    state_then = state(accepted->command.id);
  });
  settle();
  EXPECT_EQ(received_then, 0u);
  EXPECT_EQ(state_then, "queued");
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].command().name, "reboot");
  EXPECT_EQ(received[0].command().deadline_ms, 30'000u);
  EXPECT_EQ(steps(received[0].command().id), "queued queued@1 sent@1");
}

TEST_F(CommandDeskTest, SaysThatItIsHandedOverBeforeItIs) {
  connect("pump");
  std::string before;
  on_receipt = [&](const Received& each) { before = steps(each.command().id); };
  submit(request("pump"));
  EXPECT_EQ(before, "queued queued@1");
}

TEST_F(CommandDeskTest, CarriesWhatTheDeviceSaysToTheEnd) {
  connect("pump");
  const std::string id = submit(request("pump"));
  EXPECT_EQ(ack(id), "acknowledged");
  EXPECT_EQ(result(id), "succeeded");
  EXPECT_EQ(steps(id), "queued queued@1 sent@1 acknowledged@1 succeeded@1");
  EXPECT_EQ(entry(id).result_text, "done");
  EXPECT_EQ(entry(id).result_payload, (std::vector{std::byte{7}}));
  ASSERT_EQ(changes.size(), 5u);
  EXPECT_EQ(changes.back().state, CommandState::succeeded);
  std::vector<std::string> told;
  for (const auto& line : recorder.entries) told.push_back(line.fields.at(2).second);
  EXPECT_EQ(told, (std::vector<std::string>{"queued", "succeeded"}));
}

TEST_F(CommandDeskTest, TakesEachOutcomeAsTheDeviceSaysIt) {
  connect("pump");
  for (const auto& [outcome, name] : {std::pair(Outcome::failed, "failed"), std::pair(Outcome::rejected, "rejected"),
                                      std::pair(Outcome::cancelled, "cancelled")}) {
    EXPECT_EQ(result(submit(request("pump")), outcome), name);
  }
}

TEST_F(CommandDeskTest, KeepsCommandsForADeviceThatIsNotThereAndSendsThemInOrder) {
  for (int i = 0; i < 5; ++i) submit(request("pump", "n" + std::to_string(i)));
  EXPECT_TRUE(received.empty());
  connect("pump");
  EXPECT_EQ(names(), (std::vector<std::string>{"n0", "n1", "n2", "n3", "n4"}));
}

TEST_F(CommandDeskTest, RefusesWhatCannotBeACommand) {
  EXPECT_EQ(submit(request("stranger")), not_there);
  EXPECT_EQ(submit(request("pump", "no/slash")), invalid);
  auto wanted = request("pump");
  wanted.payload.resize(16'385);
  EXPECT_EQ(submit(wanted), too_large);
  for (const auto timeout : {0ms, -1ms, 86'400'001ms}) {
    wanted = request("pump");
    wanted.timeout = timeout;
    EXPECT_EQ(submit(wanted), invalid) << timeout.count();
  }
  for (const auto ttl : {-1ms, 604'800'001ms}) {
    wanted = request("pump");
    wanted.ttl = ttl;
    EXPECT_EQ(submit(wanted), invalid) << ttl.count();
  }
  wanted = request("pump");
  wanted.idempotency_key = std::string(129, 'k');
  EXPECT_EQ(submit(wanted), invalid);
  wanted.idempotency_key = "line\nfeed";
  EXPECT_EQ(submit(wanted), invalid);
  EXPECT_TRUE(changes.empty());
}

TEST_F(CommandDeskTest, GivesIdsThatSortByAgeAndAreNeverTheSame) {
  std::vector<std::string> ids;
  for (int i = 0; i < 1'000; ++i) ids.push_back(make_command_id(1'700'000'000'000 - i));
  EXPECT_TRUE(std::ranges::is_sorted(ids));
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), ids.size());
  for (const auto& id : ids) EXPECT_EQ(id.size(), 39u);
}

// --- what connections answer

TEST_F(CommandDeskTest, TriesABusyConnectionAgain) {
  connect("pump");
  instead = Delivery::busy;
  const std::string id = submit(request("pump"));
  EXPECT_EQ(steps(id), "queued queued@1");
  pass(20s);
  EXPECT_EQ(steps(id), "queued queued@1") << "it is still being handed over";
  instead.reset();
  pass(10s);
  EXPECT_EQ(steps(id), "queued queued@1 sent@1");
}

TEST_F(CommandDeskTest, SaysSoIfTheConnectionWasGoneAndSendsOnTheNext) {
  connect("pump");
  instead = Delivery::offline;
  const std::string id = submit(request("pump"));
  EXPECT_EQ(steps(id), "queued queued@1 queued");
  disconnect("pump");
  instead.reset();
  connect("pump");
  EXPECT_EQ(steps(id), "queued queued@1 queued queued@2 sent@2");
}

TEST_F(CommandDeskTest, EndsWhatTheDeviceCannotTakeAndSaysWhy) {
  connect("pump");
  for (const auto& [delivery, why] :
       {std::pair(Delivery::too_large, "receive_max_bytes"), std::pair(Delivery::unsupported, "capabilities")}) {
    instead = delivery;
    const std::string id = submit(request("pump"));
    EXPECT_EQ(steps(id), "queued queued@1 rejected");
    EXPECT_NE(entry(id).steps.back().detail.find(why), std::string::npos);
  }
  instead.reset();
  submit(request("pump"));
  EXPECT_EQ(received.size(), 1u) << "what comes after is not held up";
}

TEST_F(CommandDeskTest, DoesNotEndAsRejectedWhatAnEarlierConnectionTook) {
  connect("pump");
  const std::string id = submit(request("pump"));
  instead = Delivery::unsupported;
  connect("pump");
  pass(5s);
  EXPECT_EQ(state(id), "sent");
  pass(30s);
  EXPECT_EQ(state(id), "timed_out");
}

TEST_F(CommandDeskTest, HandsOverInTheEndHoweverOftenThereWasNobody) {
  auto wanted = request("pump");
  wanted.at_most_once = true;
  const std::string id = submit(wanted);
  instead = Delivery::offline;
  for (int i = 0; i < 60; ++i) connect("pump");
  EXPECT_LE(entry(id).steps.size(), k_command_steps_max);
  instead.reset();
  connect("pump");
  EXPECT_EQ(times_received(id), 1u);
  EXPECT_LE(entry(id).steps.size(), k_command_steps_max);
  EXPECT_EQ(state(id), "sent");
  pass(301s);
  EXPECT_EQ(times_received(id), 1u);
  EXPECT_EQ(state(id), "timed_out");
}

TEST_F(CommandDeskTest, LetsNothingOvertakeWhatTheLedgerMustSayFirst) {
  connect("pump");
  hold = true;
  instead = Delivery::offline;
  const std::string first = submit(request("pump", "first"));
  submit(request("pump", "second"));
  // That the connection did not take it cannot be written the first time.
  faults->look = [this](std::string_view call) {
    if (call != "advance_command") return;
    faults->error = Errc::internal;
    faults->fail_at = faults->calls - 1;
    faults->look = nullptr;
  };
  release();
  EXPECT_EQ(steps(first), "queued queued@1");
  instead.reset();
  connect("pump");
  pass(2s);
  EXPECT_EQ(names(), (std::vector<std::string>{"first", "second"}));
}

TEST_F(CommandDeskTest, DoesNotSendWhatExpiresWhileTheLedgerIsAsked) {
  connect("pump");
  auto wanted = request("pump");
  wanted.ttl = 5s;
  std::size_t asked = 0;
  faults->look = [&](std::string_view call) {
    if (call == "advance_command" && ++asked == 1) clock.passed += 6s;
  };
  const std::string id = submit(wanted);
  pass(200ms);
  EXPECT_EQ(state(id), "expired");
  EXPECT_TRUE(received.empty());
}

// --- again and again

TEST_F(CommandDeskTest, SendsAgainByTheSameIdUntilItIsAcknowledged) {
  connect("pump");
  const std::string id = submit(request("pump"));
  pass(10'100ms);
  EXPECT_EQ(times_received(id), 2u);
  EXPECT_LE(received.back().command().deadline_ms, 20'000u);
  EXPECT_GE(received.back().command().deadline_ms, 19'700u);
  EXPECT_EQ(entry(id).sends, 2u);
  ack(id);
  pass(15s);
  EXPECT_EQ(times_received(id), 2u);
}

TEST_F(CommandDeskTest, SendsAgainOnTheNextConnectionAndBeforeWhatIsNewer) {
  connect("pump");
  submit(request("pump", "first"));
  const std::string done = submit(request("pump", "acknowledged"));
  ack(done);
  disconnect("pump");
  submit(request("pump", "second"));
  received.clear();
  connect("pump");
  EXPECT_EQ(names(), (std::vector<std::string>{"first", "second"}));
}

TEST_F(CommandDeskTest, SendsOnceAndNoMoreWhatIsAtMostOnce) {
  auto wanted = request("pump");
  wanted.at_most_once = true;
  connect("pump");
  const std::string id = submit(wanted);
  pass(15s);
  connect("pump");
  pass(5s);
  EXPECT_EQ(times_received(id), 1u);
  EXPECT_EQ(state(id), "sent");
  EXPECT_EQ(result(id), "succeeded");
}

TEST_F(CommandDeskTest, SendsAgainWhatAnEndedConnectionTookWhileTheNextCame) {
  const Epoch first = connect("pump");
  hold_answers = true;
  const std::string id = submit(request("pump"));
  connect("pump");  // takes over before the answer
  release();
  ASSERT_EQ(times_received(id), 2u);
  EXPECT_EQ(received[0].epoch, first);
  EXPECT_EQ(received[1].epoch.value, first.value + 1);
  EXPECT_EQ(steps(id), "queued queued@1 sent@1 sent@2");
}

TEST_F(CommandDeskTest, HoldsNoMoreUnacknowledgedThanAllowed) {
  connect("pump");
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(submit(request("pump", "n" + std::to_string(i))));
  EXPECT_EQ(received.size(), 8u);
  ack(ids[3]);
  EXPECT_EQ(received.size(), 9u);
  result(ids[0]);
  EXPECT_EQ(received.size(), 10u);
  EXPECT_EQ(received.back().command().name, "n9");
}

TEST_F(CommandDeskTest, PassesOverWhatTheFleetSaysOfAnOlderConnection) {
  connect("pump");
  connect("pump");
  tell("pump", Epoch{1}, false);
  submit(request("pump"));
  EXPECT_EQ(received.size(), 1u);
}

// --- answers that come early, late, or from somebody else

TEST_F(CommandDeskTest, TakesAResultThatComesBeforeTheConnectionsAnswer) {
  connect("pump");
  hold_answers = true;
  const std::string id = submit(request("pump"));
  EXPECT_EQ(result(id), "succeeded");
  EXPECT_EQ(steps(id), "queued queued@1 sent@1 succeeded@1");
  EXPECT_EQ(entry(id).sends, 1u);
  EXPECT_NE(entry(id).first_sent_unix_ms, 0);
  release();
  EXPECT_EQ(steps(id), "queued queued@1 sent@1 succeeded@1");
  submit(request("pump", "next"));
  EXPECT_EQ(received.back().command().name, "next");
}

TEST_F(CommandDeskTest, TakesAnAcknowledgementThatComesBeforeTheConnectionsAnswer) {
  connect("pump");
  hold_answers = true;
  const std::string id = submit(request("pump"));
  EXPECT_EQ(ack(id), "acknowledged");
  release();
  EXPECT_EQ(steps(id), "queued queued@1 sent@1 acknowledged@1");
  pass(31s);
  EXPECT_EQ(state(id), "timed_out");
}

TEST_F(CommandDeskTest, FollowsTheLedgerWhereAnAcknowledgementIsWrittenJustBefore) {
  connect("pump");
  hold_answers = true;
  const std::string id = submit(request("pump"));
  say("pump", CommandAckReply{id}, Epoch{epochs});
  release();  // both are in one transaction
  EXPECT_EQ(steps(id), "queued queued@1 sent@1 acknowledged@1");
  pass(31s);
  EXPECT_EQ(state(id), "timed_out");
}

TEST_F(CommandDeskTest, ChangesNothingWhenTheLogIsReadAgain) {
  connect("pump");
  const std::string id = submit(request("pump"));
  ack(id);
  result(id);
  const auto before = entry(id);
  const std::size_t told = changes.size();
  journalled = 0;
  settle();
  EXPECT_EQ(entry(id).steps, before.steps);
  EXPECT_EQ(changes.size(), told);
}

TEST_F(CommandDeskTest, BelievesNoDeviceAboutAnothersCommand) {
  add("valve");
  connect("pump");
  const std::string id = submit(request("pump"));
  says("valve", CommandResultReply{id, Outcome::succeeded, {}, {}});
  says("valve", CommandAckReply{"no such command"});
  EXPECT_EQ(state(id), "sent");
}

// --- time

TEST_F(CommandDeskTest, ExpiresWhatWasNotSentInTime) {
  auto wanted = request("pump");
  wanted.ttl = 5s;
  const std::string id = submit(wanted);
  pass(4'900ms);
  EXPECT_EQ(state(id), "queued");
  pass(200ms);
  EXPECT_EQ(state(id), "expired");
  connect("pump");
  EXPECT_TRUE(received.empty());
}

TEST_F(CommandDeskTest, TimesOutFromTheFirstTimeItWasSent) {
  pass(50s);
  auto wanted = request("pump");
  wanted.timeout = 15s;
  const std::string id = submit(wanted);
  pass(20s);
  connect("pump");
  pass(11s);
  EXPECT_EQ(times_received(id), 2u);
  pass(3'900ms);
  EXPECT_EQ(state(id), "sent");
  pass(200ms);
  EXPECT_EQ(state(id), "timed_out");
}

TEST_F(CommandDeskTest, TakesAResultThatComesAfterTheTimeout) {
  connect("pump");
  const std::string id = submit(request("pump"));
  ack(id);
  pass(31s);
  ASSERT_EQ(state(id), "timed_out");
  EXPECT_EQ(result(id), "succeeded");
  EXPECT_EQ(changes.back().state, CommandState::succeeded);
  EXPECT_EQ(result(id, Outcome::failed), "succeeded") << "the first word counts";
}

TEST_F(CommandDeskTest, WantsItAtOnceOrNotAtAllWhereTheTimeToLiveIsNothing) {
  auto wanted = request("pump");
  wanted.ttl = 0ms;
  const std::string offline = submit(wanted);
  EXPECT_EQ(state(offline), "expired");
  EXPECT_NE(entry(offline).steps.back().detail.find("not connected"), std::string::npos);
  connect("pump");
  EXPECT_EQ(state(submit(wanted)), "sent");
  instead = Delivery::offline;
  EXPECT_EQ(state(submit(wanted)), "expired");
}

}  // namespace
}  // namespace fieldgate::control
