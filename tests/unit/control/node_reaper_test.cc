// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/node_reaper.h"

#include "tests/unit/control/fleet_fixture.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

struct NodeReaperTest : testing::Test, FleetFixture {
  NodeReaperTest() {
    lease("node-1", 3'600s);
    lease("node-2", 20s);
    lease("node-3", 3'600s);
    add({presence_event("a", 1, true, "node-2"), presence_event("b", 2, true, "node-3"),
         presence_event("c", 3, true, "node-1")});
  }
  void start() {
    ControlLinks links;
    links.owners = &owners;
    reaper.start(links, [](const DeviceId&) { return Labels{{"site", "registry"}}; });
  }
  bool online(const std::string& device) { return row(device).online; }

  NodeReaper reaper{worker, self, clock, log, {.lease = 15s}, membership};
};

TEST_F(NodeReaperTest, EndsWhatADeadNodeLeftOnceItHasHadTheStoreForTwoLeases) {
  const ProfileUpdate profile{device_id("a"), {1}, "1.0", {{"kind", "pump"}, {"site", "own"}}};
  ASSERT_TRUE(worker.run_now([&](DeviceStore& store) { return store.set_profiles({&profile, 1}); }));
  start();
  pass(29s);
  EXPECT_TRUE(online("a")) << "its lease ran out ten seconds ago, but this node has not been there for long enough";
  pass(7s);
  EXPECT_FALSE(online("a"));
  EXPECT_EQ(row("a").reason, "node_lost");
  EXPECT_EQ(row("a").node, "node-2");
  EXPECT_TRUE(online("b"));
  EXPECT_TRUE(online("c"));
  const auto why =
      ask<std::vector<TimelineEntry>>([](DeviceStore& store) { return store.timeline(device_id("a"), 0, 10); });
  ASSERT_TRUE(why && why->size() == 1);
  EXPECT_EQ(why->front().fields, (TimelineFields{{"reason", "node_lost"}}));
  ASSERT_EQ(owners.lost.size(), 1U);
  EXPECT_EQ(owners.lost[0].node, "node-2");
  EXPECT_EQ(owners.lost[0].boot_id, "node-2.boot");
  EXPECT_EQ(owners.lost[0].labels, (Labels{{"kind", "pump"}, {"site", "registry"}}));
  pass(300s);
  EXPECT_EQ(owners.lost.size(), 1U) << "once";
  EXPECT_EQ(membership.dead_nodes.get(), 1U);
  EXPECT_EQ(membership.connections_lost.get(), 1U);
}

TEST_F(NodeReaperTest, EndsNobodyWhoRenewsAfterAnOutageOfAll) {
  start();
  pass(40s);
  add({presence_event("a", 5, true, "node-2")});
  lease("node-2", 20s);
  faults->down = true;
  pass(60s);  // so nobody could renew
  faults->down = false;
  pass(25s);  // it is reached within ten of them
  EXPECT_TRUE(online("a"));
  lease("node-2", 20s);
  pass(15s);
  EXPECT_TRUE(online("a")) << "its lease holds";
  pass(60s);
  EXPECT_FALSE(online("a"));
}

TEST_F(NodeReaperTest, BeginsToCountAnewAfterItWasStopped) {
  start();
  pass(20s);
  clock.passed += 60s;  // the process stood still: so may others have
  pass(25s);
  EXPECT_TRUE(online("a"));
  pass(10s);
  EXPECT_FALSE(online("a"));
}

TEST_F(NodeReaperTest, BeginsToCountAnewWhenItsOwnLeaseRanOut) {
  lease("node-1", 5s);
  start();
  pass(60s);
  EXPECT_TRUE(online("a")) << "who is lost himself calls nobody lost";
  lease("node-1", 3'600s);
  pass(25s);
  EXPECT_TRUE(online("a"));
  pass(15s);
  EXPECT_FALSE(online("a"));
}

TEST_F(NodeReaperTest, EndsAWholeFleetInPortions) {
  std::vector<PresenceEvent> events;
  for (std::size_t i = 0; i < 2 * NodeReaper::k_portion + 1; ++i) {
    events.push_back(presence_event("d" + std::to_string(i), i + 1, true, "node-2"));
  }
  add(events);
  int portions = 0;
  faults->look = [&](std::string_view call) { portions += call == "end_dead_node" ? 1 : 0; };
  start();
  pass(40s);
  EXPECT_EQ(owners.lost.size(), 2 * NodeReaper::k_portion + 2);
  EXPECT_EQ(portions, 3);
  EXPECT_EQ(membership.dead_nodes.get(), 1U) << "one, in three portions";
  EXPECT_EQ(membership.connections_lost.get(), owners.lost.size());
}

TEST_F(NodeReaperTest, GoesOnWhereTheStoreBrokeOff) {
  std::vector<PresenceEvent> events;
  for (std::size_t i = 0; i < 2 * NodeReaper::k_portion; ++i) {
    events.push_back(presence_event("d" + std::to_string(i), i + 1, true, "node-2"));
  }
  add(events);
  int portions = 0;
  faults->look = [&](std::string_view call) {
    if (call == "end_dead_node" && ++portions == 2) faults->fail_at = faults->calls - 1;
  };
  start();
  pass(40s);
  pass(60s);
  EXPECT_EQ(owners.lost.size(), 2 * NodeReaper::k_portion + 1);
  EXPECT_FALSE(online("a"));
}

TEST_F(NodeReaperTest, LeavesTheDeadToAnotherNodeOnceItIsRetired) {
  const NodeRow another{.name = "node-3", .boot_id = "node-3.boot", .version = "1"};
  NodeReaper other{worker, another, clock, log, {.lease = 15s}, membership};
  FakeOwners others;
  ControlLinks links;
  links.owners = &others;
  start();
  other.start(links, {});
  EXPECT_FALSE(reaper.retired());
  reaper.retire();
  settle();
  EXPECT_TRUE(reaper.retired());
  pass(40s);
  EXPECT_FALSE(online("a"));
  EXPECT_TRUE(owners.lost.empty());
  ASSERT_EQ(others.lost.size(), 1U);
  EXPECT_EQ(others.lost[0].device.str(), "a");
}

TEST_F(NodeReaperTest, IsRetiredOnceWhatItHasJustEndedIsTold) {
  std::vector<PresenceEvent> events;
  for (std::size_t i = 0; i < 2 * NodeReaper::k_portion; ++i) {
    events.push_back(presence_event("d" + std::to_string(i), i + 1, true, "node-2"));
  }
  add(events);
  bool under_way = false;
  faults->look = [&](std::string_view call) {
    if (call != "end_dead_node") return;
    under_way = true;
    reaper.retire();
    EXPECT_FALSE(reaper.retired());
  };
  start();
  pass(60s);
  EXPECT_TRUE(under_way);
  EXPECT_TRUE(reaper.retired());
  EXPECT_EQ(owners.lost.size(), NodeReaper::k_portion) << "the portion that was under way, and no other";
  EXPECT_EQ(membership.dead_nodes.get(), 0U) << "whoever ends the rest counts it";
}

}  // namespace
}  // namespace fieldgate::control
