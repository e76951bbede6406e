// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"
#include "tests/unit/control/command_truth.h"
#include "tests/unit/control/desk_world.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

// What becomes of commands when the gateway dies, or its store does.
namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Outcome = CommandResultReply::Outcome;

struct CommandRestart : testing::Test, World {
  CommandRestart() { add("pump"); }
  CommandRequest once(const std::string& name = "reboot") {
    auto wanted = request("pump", name);
    wanted.at_most_once = true;
    return wanted;
  }
  std::string last_detail(const std::string& id) { return entry(id).steps.back().detail; }
};

TEST_F(CommandRestart, TakesUpWhatIsOpen) {
  const std::string queued = submit(request("pump", "queued"));
  add("valve");
  connect("valve");
  const std::string sent = submit(request("valve", "sent"));
  restart();
  connect("pump");
  connect("valve");
  EXPECT_EQ(times_received(queued), 1u);
  EXPECT_EQ(times_received(sent), 2u);
  says("valve", CommandAckReply{sent});
  restart();
  connect("valve");
  EXPECT_EQ(times_received(sent), 2u) << "it is acknowledged";
  pass(31s);
  EXPECT_EQ(state(sent), "timed_out");
}

TEST_F(CommandRestart, EndsWhatIsOverdue) {
  const std::string queued = submit(request("pump"));
  add("valve");
  connect("valve");
  const std::string sent = submit(request("valve"));
  kill();
  clock.passed += 301s;
  boot();
  pass(200ms);
  EXPECT_EQ(state(queued), "expired");
  EXPECT_EQ(state(sent), "timed_out");
  says("valve", CommandResultReply{sent, Outcome::succeeded, {}, {}});
  EXPECT_EQ(state(sent), "succeeded") << "it was in the log all the time";
}

TEST_F(CommandRestart, DoesNotSendTwiceWhatIsAtMostOnceAndClaimsNothingOfIt) {
  connect("pump");
  hold_answers = true;  // it is delivered, and the gateway dies before it knows
  const std::string id = submit(once());
  ASSERT_EQ(times_received(id), 1u);
  hold_answers = false;
  restart();
  EXPECT_EQ(steps(id), "queued queued@1");
  connect("pump");
  pass(29s);
  EXPECT_EQ(times_received(id), 1u);
  EXPECT_EQ(state(id), "queued");
  pass(2s);
  EXPECT_EQ(state(id), "timed_out");
  EXPECT_NE(last_detail(id).find("whether the device has it is not known"), std::string::npos);
}

TEST_F(CommandRestart, SendsAtMostOnceNotAtAllIfItCannotKnowThatItDidNot) {
  connect("pump");
  hold = true;  // it is not delivered, but whoever looks at the ledger cannot tell
  const std::string id = submit(once());
  hold = false;
  restart();
  connect("pump");
  pass(31s);
  EXPECT_EQ(times_received(id), 0u);
  EXPECT_EQ(state(id), "timed_out");
}

TEST_F(CommandRestart, BelievesTheDeviceAboutWhatItMayHave) {
  connect("pump");
  hold_answers = true;
  const std::string id = submit(once());
  hold_answers = false;
  restart();
  says("pump", CommandResultReply{id, Outcome::failed, "jammed", {}});
  EXPECT_EQ(steps(id), "queued queued@1 sent@1 failed@1");
}

TEST_F(CommandRestart, SendsAgainWhatADeviceMayHaveAndNeverCallsThatExpired) {
  connect("pump");
  hold = true;
  auto wanted = request("pump");
  wanted.ttl = 5s;
  const std::string id = submit(wanted);
  hold = false;
  restart();
  pass(10s);
  EXPECT_EQ(state(id), "queued");
  connect("pump");
  EXPECT_EQ(steps(id), "queued queued@1 queued@2 sent@2");
}

TEST_F(CommandRestart, DoesNotForgetThatADeviceMayHaveItAsTheNextConnectionDoesNotTakeIt) {
  connect("pump");
  hold_answers = true;
  const std::string id = submit(request("pump"));
  hold_answers = false;
  restart();
  instead = Delivery::offline;
  connect("pump");
  EXPECT_EQ(steps(id), "queued queued@1 queued@2");
  restart();
  jump(301s);
  pass(200ms);
  EXPECT_EQ(state(id), "timed_out") << "not expired: a device has it";
}

TEST_F(CommandRestart, SendsWhatIsAtMostOnceIfTheLedgerSaysThatNoConnectionTookIt) {
  connect("pump");
  instead = Delivery::offline;
  const std::string id = submit(once());
  ASSERT_EQ(steps(id), "queued queued@1 queued");
  instead.reset();
  restart();
  connect("pump");
  EXPECT_EQ(times_received(id), 1u);
}

TEST_F(CommandRestart, AsksToCancelWhatADeviceMayHaveAndDoesNotCallItCancelled) {
  connect("pump");
  hold_answers = true;
  const std::string id = submit(request("pump"));
  hold_answers = false;
  restart();
  Asked<CommandEntry> answer;
  commands->cancel(id, "api:ann", answer.reply());
  settle();
  EXPECT_EQ((*answer)->state, CommandState::queued);
  EXPECT_TRUE((*answer)->cancel_wanted);
  received.clear();
  connect("pump");
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(std::get<CommandCancelFrame>(received[0].message).id, id);
}

TEST_F(CommandRestart, KeepsTheOrderOverARestart) {
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) {
    add("d" + std::to_string(i % 3));
    if (i % 3 == 1) names.push_back("n" + std::to_string(i));
    submit(request("d" + std::to_string(i % 3), "n" + std::to_string(i)));
  }
  restart();
  on_receipt = [this](const Received& each) { say(each.device, CommandAckReply{each.command().id}, each.epoch); };
  connect("d1");
  pass(1s);
  std::vector<std::string> got;
  for (const auto& each : received) got.push_back(each.command().name);
  EXPECT_EQ(got, names);
}

// --- the store

TEST_F(CommandRestart, RefusesWhileTheStoreIsDownAndBeginsNothing) {
  connect("pump");
  const std::string waiting = submit(request("pump", "before"));
  faults->down = true;
  EXPECT_EQ(submit(request("pump")), make_error_code(Errc::unavailable).message());
  Asked<CommandEntry> answer;
  commands->get(waiting, answer.reply());
  settle();
  EXPECT_EQ(answer->error().code, Errc::unavailable);
  const std::size_t before = received.size();
  pass(60s);
  connect("pump");
  EXPECT_EQ(received.size(), before);
  faults->down = false;
  pass(11s);
  EXPECT_EQ(state(waiting), "timed_out");
}

TEST_F(CommandRestart, WritesDownWhatHappenedOnceTheStoreIsBack) {
  connect("pump");
  hold_answers = true;
  const std::string id = submit(request("pump"));
  faults->down = true;
  release();
  pass(3s);
  EXPECT_EQ(steps(id), "queued queued@1");
  faults->down = false;
  pass(6s);
  EXPECT_EQ(steps(id), "queued queued@1 sent@1");
}

TEST_F(CommandRestart, LoadsOnceTheStoreIsThere) {
  submit(request("pump"));
  kill();
  worker = std::make_unique<StoreWorker>(std::make_unique<test::FaultyStore>(store, faults), clock, log);
  commands = std::make_unique<CommandDesk>(*worker, clock, log, command_settings, 24h);
  twins = std::make_unique<TwinDesk>(*worker, clock, TwinSettings{});
  dead = false;
  ASSERT_FALSE(worker->open());
  commands->start({{this}, this, &recorder});
  connect("pump");
  pass(5s);
  EXPECT_TRUE(received.empty());
  faults->down = false;
  pass(11s);
  EXPECT_EQ(received.size(), 1u);
}

TEST_F(CommandRestart, HandsOverNothingThatTheLedgerDidNotTake) {
  connect("pump");
  // Each store call of a command's way out fails in its turn.
  for (const Errc error : {Errc::unavailable, Errc::internal}) {
    for (std::uint64_t nth = 0; nth < 12; ++nth) {
      received.clear();
      faults->error = error;
      faults->fail_at = faults->calls + nth;
      const std::string id = submit(once());
      if (!received.empty()) {
        EXPECT_NE(steps(id).find("queued queued@"), std::string::npos);
      }
      faults->fail_at.reset();
      pass(15s);
      if (store->command(id)->has_value()) {
        EXPECT_EQ(times_received(id), 1u) << nth;
        EXPECT_EQ(state(id), "sent") << nth;
        says("pump", CommandResultReply{id, Outcome::succeeded, {}, {}});
      }
    }
  }
}

// That it is being handed over is in the ledger, but nobody was told so, and nothing was.
TEST_F(CommandRestart, HandsOverAtMostOnceWhatTheLedgerTookWithoutAnAnswer) {
  connect("pump");
  faults->look = [this, begun = 0](std::string_view call) mutable {
    if (call == "advance_command" && begun++ == 0) faults->commit_unheard = true;
  };
  const std::string id = submit(once());
  EXPECT_EQ(steps(id), "queued queued@1");
  EXPECT_EQ(times_received(id), 0U);
  pass(5s);  // the store is back before it is tried again
  EXPECT_EQ(times_received(id), 1U);
  EXPECT_EQ(steps(id), "queued queued@1 sent@1");
}

TEST_F(CommandRestart, HandsNothingAtMostOnceToTheNextConnectionThatTheLedgerTookForTheLastWithoutAnAnswer) {
  connect("pump");
  faults->look = [this, begun = 0](std::string_view call) mutable {
    if (call == "advance_command" && begun++ == 0) faults->commit_unheard = true;
  };
  const std::string id = submit(once());
  connect("pump");
  pass(40s);
  EXPECT_EQ(times_received(id), 0U);
  EXPECT_EQ(state(id), "timed_out");
}

// What became of an insert whose commit was cut off, nobody knows but the ledger.
TEST_F(CommandRestart, ReadsWhatIsOpenAgainUntilItCanOnceTheStoreIsBack) {
  connect("pump");
  faults->down = true;
  EXPECT_EQ(submit(request("pump")), make_error_code(Errc::unavailable).message());
  CommandEntry kept{.id = "00-kept", .device = device_id("pump"), .name = "kept"};
  kept.created_unix_ms = clock.unix_ms();
  kept.expires_unix_ms = clock.unix_ms() + 600'000;
  kept.timeout_ms = 1'000;
  kept.steps.push_back({CommandState::queued, clock.unix_ms()});
  ASSERT_TRUE(store->insert_command(kept));
  int refusals = 0;
  faults->error = Errc::internal;
  faults->look = [&](std::string_view call) {
    if (call == "open_commands" && refusals++ == 0) faults->fail_at = faults->calls - 1;
  };
  faults->down = false;
  pass(15s);
  EXPECT_GE(refusals, 2);
  EXPECT_EQ(times_received(kept.id), 1u);
}

// --- killed everywhere

// A little of everything; the device executes what it gets at once.
struct Errand {
  explicit Errand(World& world) : world_(world), device_(world) {
    world_.add("pump");
    world_.on_receipt = [this](const World::Received& each) { device_.receive(each); };
  }
  void run() {
    world_.connect("pump");
    submit("ordinary", false);
    submit("once", true);
    world_.disconnect("pump");
    submit("queued", false);
    submit("queued_once", true);
    world_.connect("pump");
    world_.hold_answers = true;
    submit("held", false);
    submit("held_once", true);
    world_.connect("pump");
    world_.release();
    world_.pass(500ms);
  }
  void submit(const std::string& name, bool once) {
    auto wanted = world_.request("pump", name);
    wanted.at_most_once = once;
    world_.commands->submit(std::move(wanted), [this](Result<Commands::Accepted> accepted) {
      if (!world_.dead && accepted) accepted_.push_back(accepted->command.id);
    });
    world_.settle();
  }
  World& world_;
  EagerDevice device_;
  std::vector<std::string> accepted_;
};

TEST(CommandKilledEverywhere, LosesNothingSendsNothingTwiceThatMustNotBeAndSaysNothingThatWasNot) {
  std::uint64_t last = 0;
  {
    World world;
    Errand errand(world);
    errand.run();
    last = world.points;
    EXPECT_EQ(errand.accepted_.size(), 6u);
  }
  ASSERT_GT(last, 50u);
  std::size_t unknown = 0;
  for (std::uint64_t n = 1; n <= last + 1; ++n) {
    SCOPED_TRACE("killed at point " + std::to_string(n) + " of " + std::to_string(last));
    World world;
    Errand errand(world);
    world.kill_at = world.points + n;
    try {
      errand.run();
    } catch (const Killed&) {
    }
    world.hold_answers = false;
    world.restart();
    world.connect("pump");
    world.pass(1s);
    for (const std::string& id : errand.accepted_) {
      const CommandEntry entry = world.entry(id);
      ASSERT_EQ(entry.id, id) << "accepted and lost";
      EXPECT_TRUE(entry.at_most_once || entry.state == CommandState::succeeded) << entry.name << world.steps(id);
    }
    world.jump(400s);
    world.pass(1s);
    unknown += check_truth(world, errand.device_.said());
  }
  EXPECT_GT(unknown, 0u) << "some were killed in the one window where nobody can know";
}

}  // namespace
}  // namespace fieldgate::control
