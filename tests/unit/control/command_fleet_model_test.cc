// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fleet_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

// Three nodes on one store, at random: devices that roam and for a while seem to be at two,
// nodes that are killed, words between them that are lost, doubled and late, a store that
// fails for one of them.
namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Outcome = CommandResultReply::Outcome;

class FleetChaos {
 public:
  explicit FleetChaos(std::uint64_t seed)
      : random_(seed), world_({"a", "b", "c"}, CommandSettings{.in_flight_per_device = 3}) {
    for (const char* id : k_devices) world_.add(id);
    world_.post_works = false;
    world_.on_receipt = [this](const FleetWorld::Received& each) { receive(each); };
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
    calm();
  }

  void check() {
    std::set<std::pair<std::string, Epoch>> taken;
    std::map<std::string, std::size_t> times;
    for (const auto& each : world_.received) {
      const auto* frame = std::get_if<CommandFrame>(&each.message);
      if (frame == nullptr) continue;
      taken.insert({frame->id, each.epoch});
      ++times[frame->id];
    }
    for (const std::string& id : accepted_) check_one(world_.entry(id), id, taken, times[id]);
    EXPECT_EQ(unanswered_, 0) << "callers that were never answered";
  }

  std::size_t done() const { return accepted_.size(); }
  int kills = 0;

 private:
  static constexpr const char* k_devices[] = {"pump", "valve"};
  static constexpr const char* k_nodes[] = {"a", "b", "c"};

  void check_one(const CommandEntry& entry, const std::string& id, const std::set<std::pair<std::string, Epoch>>& taken,
                 std::size_t times) {
    SCOPED_TRACE(entry.name + " " + id + ": " + world_.steps(id));
    ASSERT_EQ(entry.id, id) << "accepted and lost";
    EXPECT_TRUE(is_final(entry.state));
    EXPECT_TRUE(!entry.at_most_once || times <= 1) << "sent " << times << " times";
    for (std::size_t i = 0; i < entry.steps.size(); ++i) {
      const CommandStep& step = entry.steps[i];
      EXPECT_TRUE(i == 0 || may_follow(entry.steps[i - 1].state, step.state));
      if (step.state == CommandState::sent && step.detail.empty()) {
        EXPECT_TRUE(taken.contains({id, step.epoch})) << "never taken by that connection";
      }
    }
    if (said_.contains(id)) {
      EXPECT_EQ(entry.state, CommandState::succeeded) << "the device said so";
      return;
    }
    const bool not_known = entry.steps.back().detail.find("is not known") != std::string::npos;
    if (entry.state == CommandState::expired || entry.state == CommandState::cancelled) {
      EXPECT_EQ(times, 0u) << "a device had it";
    }
    if (entry.state == CommandState::timed_out) {
      EXPECT_TRUE(times > 0 || not_known);
    }
  }

  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  bool chance(int percent) { return below(100) < static_cast<std::size_t>(percent); }
  template <class T>
  T any(std::initializer_list<T> of) {
    return *(of.begin() + below(of.size()));
  }
  std::string device() { return k_devices[below(2)]; }
  FleetNode& node() {
    for (;;) {
      FleetNode& found = world_.node(k_nodes[below(3)]);
      if (found.alive()) return found;
    }
  }

  void step() {
    switch (below(14)) {
      case 0:
      case 1:
      case 2: return submit();
      case 3:
      case 4: return roam();
      case 5: return leave();
      case 6:
      case 7: return speak();
      case 8: return cancel();
      case 9: return post();
      case 10: {
        FleetNode& at = node();
        if (at.hold || at.hold_answers) {
          at.release();
        } else {
          (chance(50) ? at.hold : at.hold_answers) = true;
        }
        return world_.settle();
      }
      case 11: return trouble();
      default: return world_.pass(any({100ms, 500ms, 1'500ms, 5'000ms}));
    }
  }

  void submit() {
    CommandRequest wanted = world_.request(device(), "n" + std::to_string(++number_));
    wanted.at_most_once = chance(50);
    wanted.ttl = any({0ms, 2'000ms, 60'000ms});
    wanted.timeout = any({2'000ms, 20'000ms});
    FleetNode& at = node();
    ++unanswered_;
    ++asked_[at.name()];
    at.commands->submit(std::move(wanted), [this, &at, boot = boots_[at.name()]](Result<Commands::Accepted> accepted) {
      if (boot != boots_[at.name()]) return;
      --unanswered_;
      --asked_[at.name()];
      if (accepted) accepted_.push_back(accepted->command.id);
    });
    if (chance(70)) world_.settle();
  }

  // It connects somewhere; that it is nowhere else any more, the last node hears later, or never.
  void roam() {
    const std::string id = device();
    FleetNode& to = node();
    const Epoch epoch = world_.connect(id, to.name());
    if (chance(70)) world_.presence(id, to.name(), epoch, true);
    for (const char* other : k_nodes) {
      if (other != to.name() && chance(60)) world_.disconnect(id, other);
    }
    if (chance(70)) world_.settle();
  }
  void leave() {
    const std::string id = device();
    world_.disconnect(id, node().name());
    if (chance(70)) world_.settle();
  }

  void receive(const FleetWorld::Received& each) {
    const auto* frame = std::get_if<CommandFrame>(&each.message);
    if (frame == nullptr) return;
    if (chance(50)) tongue_.push_back({each.device, each.node, each.epoch, CommandAckReply{frame->id}});
    if (chance(50)) {
      tongue_.push_back(
          {each.device, each.node, each.epoch, CommandResultReply{frame->id, Outcome::succeeded, {}, {}}});
    }
  }
  // A device says something of what it has to say; a node that was killed has its log yet.
  void speak() {
    if (tongue_.empty()) return;
    const Word word = tongue_.front();
    tongue_.pop_front();
    if (const auto* result = std::get_if<CommandResultReply>(&word.reply)) said_.insert(result->id);
    world_.say(word.device, word.node, word.reply, word.epoch);
    world_.settle();
  }

  void cancel() {
    if (accepted_.empty()) return;
    const std::size_t last = std::min<std::size_t>(accepted_.size(), 5);
    node().commands->cancel(accepted_[accepted_.size() - 1 - below(last)], "ann", [](const Result<CommandEntry>&) {});
    if (chance(70)) world_.settle();
  }

  void post() {
    auto& letters = world_.net.letters;
    while (!letters.empty() && chance(80)) {
      const std::size_t at = below(letters.size());
      if (chance(20)) {
        letters.erase(letters.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (chance(20)) {
        world_.net.hand(FakeLetter(letters[at]));
      } else {
        world_.net.deliver(at);
      }
    }
    world_.settle();
  }
  using FakeLetter = test::FakePeerNet::Letter;

  void trouble() {
    FleetNode& at = node();
    switch (below(3)) {
      case 0: at.faults->down = true; return;
      case 1:
        for (const char* name : k_nodes) world_.node(name).faults->down = false;
        return;
      default: break;
    }
    ++kills;
    ++boots_[at.name()];
    unanswered_ -= std::exchange(asked_[at.name()], 0);
    at.kill();
    at.journalled -= std::min<std::size_t>(at.journalled, below(5));  // its log is read again
    at.boot();
  }

  // All that is wrong ends, and time goes by.
  void calm() {
    world_.post_works = true;
    for (const char* name : k_nodes) {
      world_.node(name).faults->down = false;
      world_.node(name).release();
    }
    world_.pass(12s);
    while (!tongue_.empty()) speak();
    world_.pass(90s);
    while (!tongue_.empty()) speak();
    world_.pass(30s);
  }

  std::mt19937_64 random_;
  FleetWorld world_;
  int number_ = 0;
  int unanswered_ = 0;
  std::map<std::string, int> asked_;
  std::map<std::string, int> boots_;
  std::vector<std::string> accepted_;
  std::set<std::string> said_;
  struct Word {
    std::string device;
    std::string node;
    Epoch epoch;
    DeviceReply reply;
  };
  std::deque<Word> tongue_;
};

TEST(CommandFleetModel, HoldsWhateverHappens) {
  std::random_device device;
  const char* chosen = std::getenv("FIELDGATE_TEST_SEED");
  const std::uint64_t first = chosen != nullptr ? std::stoull(chosen) : device();
  std::size_t commands = 0;
  int kills = 0;
  for (std::uint64_t seed = first; seed < first + 60; ++seed) {
    SCOPED_TRACE("FIELDGATE_TEST_SEED=" + std::to_string(seed));
    FleetChaos chaos(seed);
    chaos.run(150);
    chaos.check();
    commands += chaos.done();
    kills += chaos.kills;
    if (testing::Test::HasFailure()) break;
  }
  RecordProperty("commands", static_cast<int>(commands));
  RecordProperty("kills", kills);
  EXPECT_GT(commands, 0u);
}

}  // namespace
}  // namespace fieldgate::control
