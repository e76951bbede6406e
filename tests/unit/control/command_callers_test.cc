// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"

#include "tests/unit/control/command_fixture.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

// What callers may want of a command that is in the ledger, and how much of it.
namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

// --- cancelling

TEST_F(CommandDeskTest, CancelsAtOnceWhatIsQueued) {
  const std::string id = submit(request("pump"));
  EXPECT_EQ(cancel(id), "cancelled");
  EXPECT_NE(entry(id).steps.back().detail.find("api:ann"), std::string::npos);
  connect("pump");
  EXPECT_TRUE(received.empty());
  EXPECT_EQ(cancel(id), conflict);
  EXPECT_EQ(cancel("none such"), not_there);
}

TEST_F(CommandDeskTest, AsksTheDeviceToCancelWhatItHasAndLetsItDecide) {
  connect("pump");
  const std::string id = submit(request("pump"));
  EXPECT_EQ(cancel(id), "sent");
  EXPECT_TRUE(entry(id).cancel_wanted);
  EXPECT_EQ(std::get<CommandCancelFrame>(received.back().message).id, id);
  EXPECT_EQ(result(id), "succeeded");
}

TEST_F(CommandDeskTest, AsksAgainOnTheNextConnectionAndDoesNotSendTheCommandAgain) {
  connect("pump");
  const std::string unacknowledged = submit(request("pump"));
  const std::string acknowledged = submit(request("pump"));
  ack(acknowledged);
  disconnect("pump");
  cancel(unacknowledged);
  cancel(acknowledged);
  received.clear();
  connect("pump");
  pass(12s);
  std::set<std::string> asked;
  for (const auto& each : received) asked.insert(std::get<CommandCancelFrame>(each.message).id);
  EXPECT_EQ(asked, (std::set{unacknowledged, acknowledged}));
  EXPECT_EQ(received.size(), 2u);
}

TEST_F(CommandDeskTest, CancelsWhatWasBeingHandedOverIfNoConnectionTookIt) {
  connect("pump");
  for (const Delivery delivery : {Delivery::offline, Delivery::busy}) {
    hold = true;
    instead = delivery;
    const std::string id = submit(request("pump"));
    EXPECT_EQ(cancel(id), "queued");
    release();
    EXPECT_EQ(state(id), "cancelled");
    instead.reset();
    pass(11s);
    EXPECT_EQ(times_received(id), 0u);
  }
}

TEST_F(CommandDeskTest, CancelsAtOnceWhatABusyConnectionHasNotTaken) {
  connect("pump");
  instead = Delivery::busy;
  const std::string id = submit(request("pump"));
  cancel(id);
  EXPECT_EQ(state(id), "cancelled");
  instead.reset();
  pass(11s);
  EXPECT_TRUE(received.empty());
}

TEST_F(CommandDeskTest, AsksTheDeviceToCancelWhatWasTakenMeanwhile) {
  connect("pump");
  hold = true;
  const std::string id = submit(request("pump"));
  cancel(id);
  release();
  EXPECT_EQ(state(id), "sent");
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(std::get<CommandCancelFrame>(received[1].message).id, id);
}

TEST_F(CommandDeskTest, AsksTheDeviceToCancelWhatItsConnectionDidNotTakeAgain) {
  for (const Delivery answer : {Delivery::busy, Delivery::too_large}) {
    SCOPED_TRACE(static_cast<int>(answer));
    connect("pump");
    const std::string id = submit(request("pump"));
    hold = true;
    pass(command_settings.resend_after + 1s);
    ASSERT_EQ(held.size(), 1u) << "it is on its way a second time";
    EXPECT_EQ(cancel(id), "sent");
    hold = false;
    instead = answer;
    for (auto& act : std::exchange(held, {})) act();
    instead.reset();
    settle();
    ASSERT_EQ(received.size(), 2u);
    EXPECT_EQ(std::get<CommandCancelFrame>(received[1].message).id, id);
    result(id);
    received.clear();
  }
}

TEST_F(CommandDeskTest, CancelsWhatIsBeingReadAgainForABusyConnection) {
  connect("pump");
  instead = Delivery::busy;
  const std::string id = submit(request("pump"));
  instead.reset();
  clock.passed += 500ms;
  Asked<CommandEntry> answer;
  commands->cancel(id, "api:ann", answer.reply());  // runs in the transaction that reads it
  settle();
  EXPECT_EQ(state(id), "cancelled");
  EXPECT_TRUE(received.empty());
}

// --- waiting

TEST_F(CommandDeskTest, AnswersWhoWaitsWhenTheCommandEnds) {
  connect("pump");
  const std::string id = submit(request("pump"));
  Asked<CommandEntry> first;
  Asked<CommandEntry> second;
  commands->wait(id, 10s, first.reply());
  commands->wait(id, 20s, second.reply());
  pass(5s);
  EXPECT_EQ(first.kept->count + second.kept->count, 0);
  result(id);
  ASSERT_TRUE(first.there() && second.there());
  EXPECT_EQ((*first)->state, CommandState::succeeded);
  Asked<CommandEntry> late;
  commands->wait(id, 10s, late.reply());
  settle();
  EXPECT_TRUE(late.there()) << "it has ended already";
}

TEST_F(CommandDeskTest, AnswersWhoWaitsWhenPatienceEnds) {
  const std::string id = submit(request("pump"));
  Asked<CommandEntry> soon;
  Asked<CommandEntry> later;
  commands->wait(id, 2s, soon.reply());
  commands->wait(id, 30s, later.reply());
  pass(1'900ms);
  EXPECT_EQ(soon.kept->count, 0);
  pass(300ms);
  ASSERT_TRUE(soon.there());
  EXPECT_EQ((*soon)->state, CommandState::queued);
  pass(27s);
  EXPECT_EQ(later.kept->count, 0);
  pass(1s);
  EXPECT_TRUE(later.there());
  Asked<CommandEntry> unknown;
  commands->wait("none", 2s, unknown.reply());
  settle();
  EXPECT_EQ(unknown->error().code, Errc::not_found);
}

TEST_F(CommandDeskTest, LetsNoMoreWaitThanAllowed) {
  const std::string id = submit(request("pump"));
  Asked<CommandEntry> many;
  for (std::size_t i = 0; i < CommandWaiters::k_max; ++i) commands->wait(id, 60s, many.reply());
  settle();
  ASSERT_EQ(many.kept->count, 0);
  Asked<CommandEntry> one_more;
  commands->wait(id, 60s, one_more.reply());
  settle();
  EXPECT_EQ(one_more->error().code, Errc::full);
  cancel(id);
  EXPECT_EQ(static_cast<std::size_t>(many.kept->count), CommandWaiters::k_max);
}

// --- the same again

TEST_F(CommandDeskTest, GivesTheSameCommandForTheSameKeyAndRequest) {
  auto wanted = request("pump");
  wanted.idempotency_key = "k1";
  const std::string id = submit(wanted);
  pass(10s);
  EXPECT_EQ(submit(wanted), id);
  cancel(id);
  EXPECT_EQ(submit(wanted), id) << "also when it has ended";
  add("valve");
  wanted.device = device_id("valve");
  EXPECT_NE(submit(wanted), id) << "keys are a device's own";
}

TEST_F(CommandDeskTest, RefusesAKeyThatStandsForSomethingElse) {
  auto first = request("pump");
  first.idempotency_key = "k1";
  submit(first);
  std::vector<CommandRequest> others(5, first);
  others[0].name = "other";
  others[1].payload = {std::byte{1}};
  others[2].ttl = 7s;
  others[3].timeout = 7s;
  others[4].at_most_once = true;
  for (const auto& other : others) EXPECT_EQ(submit(other), conflict);
}

// A broker counts a message's expiry down while it keeps it (MQTT 5.0 section 3.3.2.3.3).
TEST_F(CommandDeskTest, TakesARepetitionThatWaitedAtTheBrokerForWhatItIs) {
  auto first = request("pump");
  first.idempotency_key = "k1";
  first.source = "mqtt:north";
  first.ttl = 30s;
  const std::string id = submit(first);
  auto again = first;
  again.ttl = 21s;
  EXPECT_EQ(submit(again), id);
  again.name = "other";
  EXPECT_EQ(submit(again), conflict);
}

// --- bounds

TEST_F(CommandDeskTest, QueuesNoMoreForADeviceThanAllowed) {
  auto keyed = request("pump");
  keyed.idempotency_key = "k1";
  const std::string id = submit(keyed);
  for (int i = 1; i < 100; ++i) submit(request("pump"));
  EXPECT_EQ(submit(request("pump")), full);
  EXPECT_EQ(submit(keyed), id) << "a repetition needs no room";
  keyed.idempotency_key = "k2";
  EXPECT_EQ(submit(keyed), full);
  connect("pump");
  EXPECT_NE(submit(request("pump")), full) << "what is sent is not queued";
}

TEST_F(CommandDeskTest, CountsThoseThatComeInTheSameTransaction) {
  std::size_t too_many = 0;
  for (int i = 0; i < 150; ++i) {
    commands->submit(request("pump"), [&](Result<Commands::Accepted> accepted) { too_many += accepted ? 0 : 1; });
  }
  settle();
  EXPECT_EQ(too_many, 50u);
}

TEST(CommandDeskBounds, OpensNoMoreThanAllowedInAll) {
  World world(CommandSettings{.open_max = 5});
  for (int i = 0; i < 7; ++i) world.add("d" + std::to_string(i));
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(world.submit(world.request("d" + std::to_string(i))));
  const std::string full = make_error_code(Errc::full).message();
  EXPECT_EQ(world.submit(world.request("d5")), full);
  world.connect("d0");
  world.says("d0", CommandResultReply{ids[0], CommandResultReply::Outcome::succeeded, {}, {}});
  EXPECT_NE(world.submit(world.request("d5")), full);
  world.restart();
  EXPECT_EQ(world.submit(world.request("d6")), full) << "counted anew from the ledger";
}

TEST_F(CommandDeskTest, ForgetsWhatHasEndedLongAgo) {
  connect("pump");
  const std::string old = submit(request("pump"));
  result(old);
  jump(24h);
  const std::string fresh = submit(request("pump"));
  pass(61s);
  EXPECT_EQ(state(fresh), "timed_out");
  EXPECT_EQ(entry(old).id, "none");
}

TEST_F(CommandDeskTest, LetsACommandGoWithItsDevice) {
  const std::string id = submit(request("pump"));
  Asked<CommandEntry> waiting;
  commands->wait(id, 600s, waiting.reply());
  settle();
  ASSERT_TRUE(store->delete_device(device_id("pump"), std::nullopt));
  connect("pump");
  EXPECT_TRUE(received.empty());
  pass(2s);
  ASSERT_TRUE(waiting.there());
  EXPECT_EQ(waiting->error().code, Errc::not_found);
}

}  // namespace
}  // namespace fieldgate::control
