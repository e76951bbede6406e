// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"
#include "tests/unit/control/command_truth.h"
#include "tests/unit/control/desk_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

// Everything at random: callers, devices that answer as they like, connections that come,
// go and refuse, time, a store that fails, and a gateway that is killed.
namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Outcome = CommandResultReply::Outcome;

class Chaos {
 public:
  explicit Chaos(std::uint64_t seed)
      : random_(seed), world_(CommandSettings{.queued_per_device_max = 12, .in_flight_per_device = 3}) {
    for (const char* id : k_devices) world_.add(id);
    world_.on_receipt = [this](const World::Received& each) { receive(each); };
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      try {
        step();
      } catch (const Killed&) {
        kill();
      }
    }
    calm();
  }

  void check() {
    EXPECT_EQ(unanswered_ - lost_, 0) << "callers that were never answered";
    unknown = check_truth(world_, said_in_order());
    for (const std::string& id : accepted_) EXPECT_EQ(world_.entry(id).id, id) << "accepted and lost";
    check_order();
    if (kills > 0) return;
    std::map<std::string, CommandState> told;
    for (const CommandEntry& change : world_.changes) told[change.id] = change.state;
    for (const auto& [id, state] : told) EXPECT_EQ(to_string(state), world_.state(id)) << "told otherwise";
  }

  int kills = 0;
  std::size_t unknown = 0;
  std::size_t done() const { return accepted_.size(); }

 private:
  static constexpr const char* k_devices[] = {"pump", "valve", "fan"};

  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  bool chance(int percent) { return below(100) < static_cast<std::size_t>(percent); }
  template <class T>
  T any(std::initializer_list<T> of) {
    return *(of.begin() + below(of.size()));
  }
  std::string device() { return k_devices[below(3)]; }

  void step() {
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
      case 3: return submit();
      case 4:
      case 5: world_.connect(device()); return;
      case 6: return world_.disconnect(device());
      case 7:
      case 8: return speak();
      case 9: return cancel();
      case 10: {
        world_.instead.reset();
        if (chance(40)) {
          world_.instead = any({Delivery::busy, Delivery::offline, Delivery::too_large, Delivery::unsupported});
        }
        return;
      }
      case 11: {
        if (world_.hold || world_.hold_answers) return world_.release();
        (chance(50) ? world_.hold : world_.hold_answers) = true;
        return;
      }
      case 12: {
        world_.faults->down = chance(30);
        world_.faults->error = any({Errc::unavailable, Errc::internal});
        if (chance(50)) world_.faults->fail_at = world_.faults->calls + below(20);
        return;
      }
      case 13: {
        if (chance(40)) world_.kill_at = world_.points + 1 + below(40);
        if (chance(10)) kill();
        return;
      }
      default: return world_.pass(any({100ms, 300ms, 1'000ms, 4'000ms, 12'000ms}));
    }
  }

  void submit() {
    CommandRequest wanted = world_.request(device(), "n" + std::to_string(++number_));
    wanted.at_most_once = chance(40);
    wanted.ttl = any({0ms, 1'000ms, 20'000ms, 300'000ms});
    wanted.timeout = any({1'000ms, 15'000ms, 60'000ms});
    if (chance(20)) {
      const std::string key = "k" + std::to_string(below(5));
      if (const auto at = keyed_.find({wanted.device.str(), key}); at != keyed_.end()) wanted = at->second.first;
      wanted.idempotency_key = key;
    }
    ++unanswered_;
    world_.commands->submit(wanted, [this, wanted, boot = boots_](Result<Commands::Accepted> accepted) {
      if (boot != boots_ || world_.dead) return;
      --unanswered_;
      if (!accepted) return;
      const std::string& id = accepted->command.id;
      accepted_.push_back(id);
      if (wanted.idempotency_key.empty()) return;
      const auto [at, fresh] = keyed_.try_emplace({wanted.device.str(), wanted.idempotency_key}, std::pair(wanted, id));
      EXPECT_EQ(at->second.second, id) << "one key, two commands";
      EXPECT_NE(accepted->fresh, !fresh);
    });
    if (chance(70)) world_.settle();
  }

  void receive(const World::Received& each) {
    const auto* frame = std::get_if<CommandFrame>(&each.message);
    if (frame == nullptr) return;
    if (chance(60)) tongue_.push_back({each.device, each.epoch, CommandAckReply{frame->id}});
    if (chance(60)) {
      const Outcome outcome = any({Outcome::succeeded, Outcome::failed, Outcome::rejected});
      tongue_.push_back({each.device, each.epoch, CommandResultReply{frame->id, outcome, {}, {}}});
    }
  }

  // A device says something of what it has to say; also long after that connection.
  void speak() {
    if (tongue_.empty()) return;
    const std::size_t at = chance(80) ? 0 : below(tongue_.size());
    auto [device, epoch, reply] = tongue_[at];
    tongue_.erase(tongue_.begin() + static_cast<std::ptrdiff_t>(at));
    world_.say(device, std::move(reply), epoch);
    world_.settle();
  }

  void cancel() {
    if (accepted_.empty()) return;
    ++unanswered_;
    world_.commands->cancel(accepted_[accepted_.size() - 1 - below(std::min<std::size_t>(accepted_.size(), 5))], "ann",
                            [this, boot = boots_](const Result<CommandEntry>&) {
                              if (boot == boots_ && !world_.dead) --unanswered_;
                            });
    if (chance(70)) world_.settle();
  }

  void kill() {
    ++kills;
    ++boots_;
    lost_ = unanswered_;
    world_.hold = world_.hold_answers = false;
    world_.kill();
    world_.faults->fail_at.reset();
    world_.journalled -= std::min<std::size_t>(world_.journalled, below(6));  // the log is read again
    world_.boot();
  }

  // All that is wrong ends, and time goes by.
  void calm() {
    world_.kill_at.reset();
    world_.faults->fail_at.reset();
    world_.faults->down = false;
    world_.instead.reset();
    world_.pass(11s);
    world_.release();
    for (const char* id : k_devices) world_.connect(id);
    world_.pass(1s);
    while (!tongue_.empty()) speak();
    world_.pass(70s);
    while (!tongue_.empty()) speak();
    world_.jump(400s);
    world_.pass(1s);
    world_.jump(100s);
    world_.pass(12s);
    while (!tongue_.empty()) speak();
    world_.pass(1s);
  }

  // The first result in the log of each command.
  Said said_in_order() const {
    Said said;
    for (const JournalRecord& record : world_.journal) {
      const auto* result = std::get_if<CommandResultReply>(&record.reply);
      if (result != nullptr) said.emplace(result->id, state_of(result->outcome));
    }
    return said;
  }

  // Each device got what it got, for the first time, in the order in which it was asked for:
  // but for what one connection could not take, while the next could.
  void check_order() {
    std::map<std::string, std::vector<std::string>> first;
    for (const World::Received& each : world_.received) {
      const auto* frame = std::get_if<CommandFrame>(&each.message);
      if (frame == nullptr || world_.refused.contains(frame->id)) continue;
      auto& got = first[each.device];
      if (std::ranges::find(got, frame->id) == got.end()) got.push_back(frame->id);
    }
    for (const auto& [device, got] : first) EXPECT_TRUE(std::ranges::is_sorted(got)) << device;
  }

  std::mt19937_64 random_;
  World world_;
  int number_ = 0;
  int boots_ = 0;
  int unanswered_ = 0;
  int lost_ = 0;  // whose gateway was killed
  std::vector<std::string> accepted_;
  std::map<std::pair<std::string, std::string>, std::pair<CommandRequest, std::string>> keyed_;
  struct Word {
    std::string device;
    Epoch epoch;
    DeviceReply reply;
  };
  std::deque<Word> tongue_;
};

TEST(CommandModel, HoldsWhateverHappens) {
  std::random_device device;
  const char* chosen = std::getenv("FIELDGATE_TEST_SEED");
  const std::uint64_t first = chosen != nullptr ? std::stoull(chosen) : device();
  std::size_t commands = 0;
  std::size_t unknown = 0;
  int kills = 0;
  for (std::uint64_t seed = first; seed < first + 150; ++seed) {
    SCOPED_TRACE("FIELDGATE_TEST_SEED=" + std::to_string(seed));
    Chaos chaos(seed);
    chaos.run(120);
    chaos.check();
    commands += chaos.done();
    kills += chaos.kills;
    unknown += chaos.unknown;
    if (testing::Test::HasFailure()) break;
  }
  RecordProperty("commands", static_cast<int>(commands));
  RecordProperty("kills", kills);
  RecordProperty("unknown", static_cast<int>(unknown));
  EXPECT_GT(commands, 0u);
}

}  // namespace
}  // namespace fieldgate::control
