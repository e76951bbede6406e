// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/fleet_follower.h"

#include "tests/unit/control/fleet_fixture.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

class FleetSinkOfTest final : public ControlSink {
 public:
  void fleet_known(const FleetView& view) override { views.push_back(view); }
  std::vector<FleetView> views;
};

struct FleetFollowerTest : testing::Test, FleetFixture {
  void start() {
    ControlLinks links;
    links.sinks = {&sink, &views};
    links.owners = &owners;
    ASSERT_TRUE(follower.start(links, [this] { ++set_back; }));
  }
  FleetSinkOfTest views;
  int set_back = 0;
  FleetFollower follower{worker, self, clock, log, {}, membership};
};

TEST_F(FleetFollowerTest, TellsWhoHasADeviceNowThatAnotherNodeLetIn) {
  add({presence_event("old", 1, true, "node-2")});
  start();
  pass(1s);
  EXPECT_EQ(owners.take(), Texts{}) << "from before";
  add({presence_event("a", 5, true, "node-2"), presence_event("b", 6, true, "node-1"),
       presence_event("c", 7, true, "node-3"), presence_event("c", 7, false, "node-3")});
  pass(1s);
  EXPECT_EQ(owners.take(), (Texts{"superseded a 5 by node-2", "superseded c 7 by node-3", "superseded c 7 by node-3"}));
  pass(5s);
  EXPECT_EQ(owners.take(), Texts{}) << "each is read once";
}

TEST_F(FleetFollowerTest, RenewsWhatPeersEndedUntilThereIsAnEpochAndEndsWhatSomebodyKicked) {
  start();
  add({presence_event("a", 5, true, "node-1"), presence_event("b", 6, true, "node-1"),
       presence_event("c", 7, true, "node-1")});
  add({presence_event("a", 5, false, "node-1", "node_lost"), presence_event("b", 6, false, "node-1", "kicked"),
       presence_event("c", 7, false, "node-1", "bye")});
  owners.no_epoch = true;
  pass(1s);
  const Texts first = owners.take();
  ASSERT_GE(first.size(), 2U);
  EXPECT_EQ(first[0], "end b 6 kicked");
  EXPECT_EQ(first[1], "renew a 5");
  pass(1s);
  EXPECT_EQ(owners.take().front(), "renew a 5") << "again";
  owners.no_epoch = false;
  pass(1s);
  owners.take();
  pass(3s);
  EXPECT_EQ(owners.take(), Texts{});
}

TEST_F(FleetFollowerTest, TellsTheSinksOfEveryDeviceAndNode) {
  start();
  lease("node-2", 60s);
  add({presence_event("a", 5, true, "node-2"), presence_event("own", 6, true, "node-1")});
  pass(1s);
  ASSERT_FALSE(sink.presence.empty());
  for (const PresenceRow& row : sink.presence) EXPECT_EQ(row.device.str(), "a") << "not of this process";
  ASSERT_FALSE(views.views.empty());
  const FleetView& view = views.views.back();
  EXPECT_GE(view.as_of_unix_ms, clock.unix_ms() - 500);
  ASSERT_EQ(view.nodes.size(), 1U);
  EXPECT_TRUE(view.nodes[0].live);
  // What is in no event: time stamps.
  sink.presence.clear();
  const SeenUpdate seen{device_id("a"), {5}, 99, 98};
  ASSERT_TRUE(worker.run_now([&](DeviceStore& store) { return store.set_seen({&seen, 1}); }));
  pass(62s);
  ASSERT_EQ(sink.presence.size(), 1U);
  EXPECT_EQ(sink.presence[0].last_seen_unix_ms, 99);
}

TEST_F(FleetFollowerTest, SaysNothingOfATimeInWhichItCannotSee) {
  start();
  pass(1s);
  const auto count = views.views.size();
  EXPECT_GT(count, 0U);
  faults->down = true;
  pass(5s);
  const std::int64_t last = views.views.back().as_of_unix_ms;
  EXPECT_LT(last, clock.unix_ms() - 4'000);
  EXPECT_LT(*membership.looked.get(), clock.now() - 4s);
  faults->down = false;
  pass(15s);
  EXPECT_GT(views.views.back().as_of_unix_ms, last);
  EXPECT_GE(*membership.looked.get(), clock.now() - 500ms);
  EXPECT_EQ(set_back, 0);
}

// So that an end that is said here for it comes after what made it old news.
TEST_F(FleetFollowerTest, TellsTheSinksWhereADeviceIsBeforeItsOwnerHereHearsThatItHasLostIt) {
  start();
  std::vector<std::size_t> known_then;
  owners.on_superseded = [&] { known_then.push_back(sink.presence.size()); };
  add({presence_event("a", 5, true, "node-2")});
  pass(1s);
  ASSERT_EQ(known_then.size(), 1U);
  EXPECT_EQ(known_then[0], 1U);
}

TEST_F(FleetFollowerTest, LooksAtOnceWhenToldTo) {
  start();
  pass(1s);
  add({presence_event("a", 5, true, "node-2")});
  follower.look();
  follower.look();
  settle();
  EXPECT_EQ(owners.take(), Texts{"superseded a 5 by node-2"});
}

TEST_F(FleetFollowerTest, ExaminesEverythingWhereTheLogDoesNotGoOn) {
  add({presence_event("a", 1, true, "node-1"), presence_event("b", 2, true, "node-1")});
  start();
  pass(1s);
  add({presence_event("a", 1, false, "node-1", "node_lost"), presence_event("b", 3, true, "node-2"),
       presence_event("c", 4, true, "node-2")});
  // Nobody will ever read those.
  ASSERT_TRUE(ask<std::size_t>([](DeviceStore& store) { return store.trim_presence(1, 100); }));
  pass(2s);
  EXPECT_EQ(set_back, 1);
  const Texts heard = owners.take();
  EXPECT_NE(std::ranges::find(heard, "renew a 1"), heard.end());
  EXPECT_NE(std::ranges::find(heard, "superseded b 3 by node-2"), heard.end());
  add({presence_event("d", 5, true, "node-2")});
  pass(1s);
  EXPECT_EQ(owners.take(), Texts{"superseded d 5 by node-2"}) << "and goes on from there";
  EXPECT_EQ(set_back, 1);
}

}  // namespace
}  // namespace fieldgate::control
