// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/unit/control/desk_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

// What must be true of a ledger, whatever happened.
namespace fieldgate::control {

inline CommandState state_of(CommandResultReply::Outcome outcome) {
  using Outcome = CommandResultReply::Outcome;
  switch (outcome) {
    case Outcome::succeeded: return CommandState::succeeded;
    case Outcome::failed: return CommandState::failed;
    case Outcome::rejected: return CommandState::rejected;
    case Outcome::cancelled: break;
  }
  return CommandState::cancelled;
}

// The first result that a device said, by command.
using Said = std::map<std::string, CommandState>;

// A device that acknowledges and executes at once, each command once, by its id.
class EagerDevice {
 public:
  explicit EagerDevice(World& world) : world_(world) {}
  void receive(const World::Received& each) {
    const auto* frame = std::get_if<CommandFrame>(&each.message);
    if (frame == nullptr) return;
    world_.say(each.device, CommandAckReply{frame->id}, each.epoch);
    if (!said_.emplace(frame->id, CommandState::succeeded).second) return;
    world_.say(each.device, CommandResultReply{frame->id, CommandResultReply::Outcome::succeeded, {}, {}}, each.epoch);
  }
  const Said& said() const { return said_; }

 private:
  World& world_;
  Said said_;
};

inline void check_steps(World& world, const CommandEntry& entry, const std::set<std::pair<std::string, Epoch>>& taken) {
  EXPECT_LE(entry.steps.size(), k_command_steps_max);
  ASSERT_FALSE(entry.steps.empty());
  EXPECT_EQ(entry.steps.front().state, CommandState::queued);
  EXPECT_EQ(entry.steps.back().state, entry.state);
  for (std::size_t i = 0; i < entry.steps.size(); ++i) {
    const CommandStep& step = entry.steps[i];
    EXPECT_TRUE(i == 0 || may_follow(entry.steps[i - 1].state, step.state)) << world.steps(entry.id);
    if (step.state == CommandState::sent && step.detail.empty()) {
      EXPECT_TRUE(taken.contains({entry.id, step.epoch}))
          << "never taken by that connection: " << world.steps(entry.id);
    }
  }
}

// Checks every command of the ledger, all of which have come to their end. Returns of how many
// nobody can know whether the device had them.
inline std::size_t check_truth(World& world, const Said& said) {
  std::set<std::pair<std::string, Epoch>> taken;
  std::map<std::string, std::size_t> times;
  for (const World::Received& each : world.received) {
    if (const auto* frame = std::get_if<CommandFrame>(&each.message)) {
      taken.insert({frame->id, each.epoch});
      ++times[frame->id];
    }
  }
  std::size_t unknown = 0;
  const auto devices = world.store->registry_changes(0, 1'000);
  for (const RegistryChange& device : *devices) {
    for (const CommandEntry& entry : *world.store->commands(device.id, {}, 10'000)) {
      SCOPED_TRACE(entry.name + " " + entry.id + ": " + world.steps(entry.id));
      check_steps(world, entry, taken);
      EXPECT_TRUE(is_final(entry.state));
      EXPECT_TRUE(!entry.at_most_once || times[entry.id] <= 1);
      EXPECT_LE(entry.sends, times[entry.id] + (entry.sends == 1 ? 1 : 0));
      if (const auto result = said.find(entry.id); result != said.end()) {
        EXPECT_EQ(entry.state, result->second) << "the device said otherwise";
        continue;
      }
      const bool not_known = entry.steps.back().detail.find("is not known") != std::string::npos;
      unknown += not_known ? 1 : 0;
      switch (entry.state) {
        case CommandState::timed_out: EXPECT_TRUE(times[entry.id] > 0 || not_known); break;
        case CommandState::expired:
        case CommandState::cancelled:
        case CommandState::rejected: EXPECT_EQ(times[entry.id], 0u) << "a device had it"; break;
        default: ADD_FAILURE() << "no device said so";
      }
    }
  }
  return unknown;
}

}  // namespace fieldgate::control
