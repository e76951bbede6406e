// SPDX-License-Identifier: Apache-2.0
//
// Three nodes, one store, and everything that can go wrong between a device and the
// presence log: takeovers, on one node and from one to another, late disconnects, dying
// nodes that their peers clear up after, nodes that go on while nobody can see them and come
// back, devices that are sent away and awaited, nodes that stop meanwhile or die, restarts that read the log again or
// find it lost, records given up, a store that fails or goes away.
#include "tests/unit/control/presence_boot.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace presence_model;
using namespace std::chrono_literals;

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed), store_(sqlite::make_sqlite_store(":memory:", clock_)) {
    EXPECT_TRUE(store_->open());
    for (Node& node : nodes_) {
      node.durable = random_() % 2 == 0;
      begin(node);
    }
  }

  void step() {
    Node& node = nodes_[random_() % nodes_.size()];
    if (!node.boot) {
      if (random_() % 12 == 0) begin(node);
      return;
    }
    Boot& boot = *node.boot;
    switch (random_() % 26) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4: boot.admit(any_device()); break;
      case 5:
      case 6:
      case 7:
      case 8:
      case 9: boot.claim(random_); break;
      case 10:
      case 11:
      case 12: boot.disconnect(random_, random_() % 3 == 0); break;
      case 13:
      case 14:
      case 15: boot.flush(); break;
      case 16:
      case 17: pass(milliseconds_between(5, 500)); break;
      case 18: pass(milliseconds_between(500, 5'000)); break;
      case 19: boot.faults->down = !boot.faults->down && random_() % 2 == 0; break;
      case 20: fail_soon(boot); break;
      case 21: boot.ownership.tell_ends(1); break;
      case 22: node.feed->lose_unread(random_() % 3); break;
      case 23:
        if (random_() % 4 == 0) {
          if (random_() % 2 == 0) boot.stop();
          node.boot.reset();
        }
        break;  // it dies, or has stopped
      case 24: boot.end_fenced(); break;
      case 25:  // cut off, for long enough to be given up
        if (random_() % 2 == 0) {
          boot.faults->down = true;
          pass(milliseconds_between(6'000, 15'000));
          boot.faults->down = false;
        }
        break;
      default: break;
    }
    if (node.boot) node.boot->settle();
    replay();
  }

  // With nothing broken and all said: the log says of every device what is so.
  void check_at_rest() {
    for (Node& node : nodes_) {
      if (!node.boot) begin(node);
      node.boot->faults->down = false;
      node.boot->faults->fail_at.reset();
      while (node.boot->ownership.tell_ends(100) > 0) {
      }
      node.boot->flush();
    }
    for (int round = 0; round < 13; ++round) {
      pass(std::chrono::seconds(10));
      for (Node& node : nodes_) {
        node.boot->end_fenced();
        node.boot->flush();
      }
    }
    replay();
    for (const std::string& id : k_devices) {
      const auto found = truth_.replayed.find(id);
      const std::uint64_t epoch = found == truth_.replayed.end() ? 0 : found->second.first;
      const bool online = found != truth_.replayed.end() && found->second.second;
      int owners = 0;
      for (const Node& node : nodes_) {
        const auto live = node.boot->live(id);
        if (!live) continue;
        EXPECT_EQ(epoch, live->value) << id << " is connected to " << node.name << ", and the log does not say so";
        ++owners;
      }
      EXPECT_EQ(owners, online ? 1 : 0) << id << " in epoch " << epoch;
    }
    const auto rows = store_->presence_rows({}, 100);
    ASSERT_TRUE(rows);
    EXPECT_EQ(rows->size(), truth_.replayed.size());
    for (const PresenceRow& row : *rows) {
      EXPECT_EQ(std::pair(row.epoch.value, row.online), truth_.replayed.at(row.device.str())) << row.device.str();
    }
  }
  const Truth& truth() const { return truth_; }

 private:
  struct Node {
    std::string name;
    bool durable = false;
    int boots = 0;
    Logged logged{};
    std::unique_ptr<JournalFeed> feed = std::make_unique<JournalFeed>();
    std::unique_ptr<Boot> boot{};
  };
  static inline const std::vector<std::string> k_devices{"a", "b", "c", "d", "e"};

  const std::string& any_device() { return k_devices[random_() % k_devices.size()]; }
  std::chrono::milliseconds milliseconds_between(std::int64_t low, std::int64_t high) {
    return std::chrono::milliseconds(std::uniform_int_distribution(low, high)(random_));
  }
  void fail_soon(Boot& boot) {
    if (random_() % 2 == 0) return;
    boot.faults->error = random_() % 2 == 0 ? Errc::unavailable : Errc::internal;
    boot.faults->fail_at = boot.faults->calls + random_() % 20;
  }

  void begin(Node& node) {
    if (node.boots++ > 0 && node.durable) {
      // The lane's place was saved a while ago.
      const std::uint64_t through = node.feed->through.value;
      *node.feed = node.feed->from({1 + through - random_() % (through + 1) / 4});
    } else {
      node.logged.clear();
      node.feed = std::make_unique<JournalFeed>();
    }
    node.boot = std::make_unique<Boot>(node.name, node.name + "." + std::to_string(node.boots), store_, *node.feed,
                                       node.logged, clock_, truth_);
    node.boot->start();
    node.boot->settle();
  }
  void pass(std::chrono::milliseconds time) {
    while (time.count() > 0) {
      const auto step = std::min(time, std::chrono::milliseconds(1'000));
      clock_.passed += step;
      time -= step;
      for (Node& node : nodes_) {
        if (!node.boot) continue;
        node.boot->ownership.expire(clock_.now());
        node.boot->ownership.say_overdue(clock_.now());
        node.boot->settle();
      }
    }
  }

  // What has been added to the log since: each entry must follow from those before it, and
  // must have happened.
  void replay() {
    const auto events = store_->presence_log(nullptr, truth_.number, 100'000);
    ASSERT_TRUE(events);
    for (const PresenceEvent& event : *events) {
      const std::string& id = event.device.str();
      const std::uint64_t epoch = event.epoch.value;
      const std::string what = id + (event.online ? " online " : " offline ") + std::to_string(epoch);
      EXPECT_EQ(event.number, ++truth_.number);
      auto& [known_epoch, known_online] = truth_.replayed[id];
      if (epoch == known_epoch) {
        EXPECT_TRUE(known_online && !event.online) << what;
      } else {
        EXPECT_GT(epoch, known_epoch) << what;
      }
      known_epoch = epoch;
      known_online = event.online;
      EXPECT_TRUE(truth_.said.contains({id, epoch, true})) << what << ": it never was";
      if (event.online) continue;
      for (const Node& node : nodes_) {
        if (!node.boot || node.boot->live(id) != event.epoch) continue;
        // Only peers say so of a node that they cannot see.
        EXPECT_TRUE(event.reason == "node_lost" && event.boot_id == node.boot->boot_id())
            << what << ": it is connected";
      }
      if (event.reason == "node_lost") ++truth_.reaped;
    }
  }

  std::mt19937_64 random_;
  test::HandClock clock_;
  std::shared_ptr<DeviceStore> store_;
  Truth truth_;
  std::array<Node, 3> nodes_{Node{.name = "node-1"}, Node{.name = "node-2"}, Node{.name = "node-3"}};
};

// FIELDGATE_SEED tells one story again.
std::vector<std::uint64_t> seeds() {
  if (const char* given = std::getenv("FIELDGATE_SEED")) return {std::strtoull(given, nullptr, 10)};
  return {1, 2, 3, 4, std::random_device()()};
}

// Each seed is its own story; the last one is new with every run.
TEST(PresenceProperty, TheLogReplayedGivesTheTruthAndEpochsOnlyRise) {
  constexpr int k_steps = 5'000;
  constexpr int k_between_rests = 250;
  const std::vector<std::uint64_t> stories = seeds();
  Truth all;
  for (const std::uint64_t seed : stories) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    for (int step = 1; step <= k_steps && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      world.step();
      if (step % k_between_rests == 0) world.check_at_rest();
    }
    const Truth& truth = world.truth();
    std::cout << "seed " << seed << ": " << truth.number << " events in the log, " << truth.reaped << " lost, "
              << truth.reasserted << " of them gone on, " << truth.taken_over
              << " taken over by another node; of those awaited " << truth.hold_ends[0] << " back, "
              << truth.hold_ends[1] << " elsewhere, " << truth.hold_ends[2] << " said" << std::endl;
    all.number += truth.number;
    all.reaped += truth.reaped;
    all.reasserted += truth.reasserted;
    all.taken_over += truth.taken_over;
    for (std::size_t i = 0; i < k_hold_ends.size(); ++i) all.hold_ends[i] += truth.hold_ends[i];
  }
  if (stories.size() == 1) return;
  // One story may lack something; all of them together may not, or they prove nothing.
  EXPECT_GT(all.number, 1'500U);
  EXPECT_GT(all.reaped, 100U);
  EXPECT_GT(all.reasserted, 10U);
  EXPECT_GT(all.taken_over, 50U);
  for (const std::uint64_t ends : all.hold_ends) EXPECT_GT(ends, 50U);
}

}  // namespace
}  // namespace fieldgate::control
