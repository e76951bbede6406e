// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/presence_log.h"

#include "tests/unit/control/fleet_fixture.h"
#include "tests/unit/control/journal_fixture.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

NodeRow node(const std::string& boot_id) { return {.name = "node-1", .boot_id = boot_id, .version = "1"}; }

DeviceSummary summary(const std::string& id, std::uint64_t epoch, bool online, std::int64_t seen = 0) {
  DeviceSummary device{.id = device_id(id)};
  device.epoch = {epoch};
  device.online = online;
  device.since_unix_ms = 1'700'000'000'000;
  device.last_seen_unix_ms = seen;
  if (!online) device.reason = "bye";
  return device;
}

struct PresenceLogTest : testing::Test, JournalFixture {
  PresenceLogTest() { lane.add(presence); }
  void start() {
    ASSERT_TRUE(presence.start({{&sink}, nullptr, nullptr}));
    lane.start(feed);
    settle();
  }
  // "DEVICE online|offline EPOCH REASON", oldest first.
  Texts events() {
    const auto found =
        ask<std::vector<PresenceEvent>>([](DeviceStore& store) { return store.presence_log(nullptr, 0, 10'000); });
    Texts texts;
    if (!found) return {"none: " + found.error().detail};
    for (const PresenceEvent& event : *found) {
      texts.push_back(event.device.str() + (event.online ? " online " : " offline ") +
                      std::to_string(event.epoch.value) + (event.online ? "" : " " + event.reason));
    }
    return texts;
  }
  std::map<std::string, PresenceRow> rows() {
    const auto found =
        ask<std::vector<PresenceRow>>([](DeviceStore& store) { return store.presence_rows({}, 10'000); });
    std::map<std::string, PresenceRow> all;
    if (!found) return all;
    for (const auto& row : *found) all.emplace(row.device.str(), row);
    return all;
  }

  RecordingSink sink;
  PresenceLog presence{worker, node("boot-1"), clock, log, {}, membership};
};

TEST_F(PresenceLogTest, KeepsEachEventOnceHoweverOftenTheLogIsRead) {
  push(make.presence("pump", 5, true).presence("pump", 5, false).presence("pump", 6, true));
  start();
  const Texts once{"pump online 5", "pump offline 5 bye", "pump online 6"};
  EXPECT_EQ(events(), once);
  JournalFeed again = feed.from({1});
  JournalLane second(worker, wire.reader(), letters, clock, log);
  second.add(presence);
  second.start(again);
  settle();
  EXPECT_EQ(events(), once);
  EXPECT_EQ(again.outcome.forwarded, 3U);
}

TEST_F(PresenceLogTest, CountsWhetherItsLeaseIsRenewedAndWhen) {
  start();
  EXPECT_EQ(membership.leases.get(), 1U);
  EXPECT_EQ(membership.leased.get(), clock.now());
  pass(15s);  // one lease
  EXPECT_EQ(membership.leases.get(), 4U);
  const auto last = membership.leased.get();
  faults->down = true;
  pass(15s);
  EXPECT_EQ(membership.leases.get(), 4U);
  EXPECT_GE(membership.lease_failures.get(), 2U) << "each time that it was due";
  EXPECT_EQ(membership.leased.get(), last);
  faults->down = false;
  pass(15s);
  EXPECT_GT(membership.leases.get(), 4U);
  EXPECT_GT(membership.leased.get(), last);
}

TEST_F(PresenceLogTest, EndsWhatItsEarlierBootsLeftOnline) {
  ASSERT_TRUE(worker.run_now([&](DeviceStore& store) -> Result<void> {
    std::vector<PresenceEvent> left;
    for (std::uint64_t i = 0; i < 2 * PresenceLog::k_page + 1; ++i) {
      left.push_back({.device = device_id("d" + std::to_string(i)),
                      .epoch = {i + 1},
                      .online = true,
                      .node = "node-1",
                      .boot_id = "boot-0"});
    }
    left.push_back({.device = device_id("away"), .epoch = {7}, .online = true, .node = "node-2", .boot_id = "boot-9"});
    auto added = store.add_presence(left);
    if (!added) return added.error();
    return {};
  }));
  start();
  pass(5s);
  const auto now = rows();
  EXPECT_EQ(now.size(), 2 * PresenceLog::k_page + 2);
  for (const auto& [id, row] : now) {
    EXPECT_EQ(row.online, id == "away") << id;
    if (id != "away") {
      EXPECT_EQ(row.reason, "node_lost");
    }
  }
  EXPECT_EQ(sink.presence.size(), now.size()) << "the sinks know them all";
  const auto why =
      ask<std::vector<TimelineEntry>>([](DeviceStore& store) { return store.timeline(device_id("d3"), 0, 10); });
  ASSERT_TRUE(why && why->size() == 1) << "what the process that ended could not write down";
  EXPECT_EQ(why->front().kind, TimelineKind::disconnected);
  EXPECT_EQ(why->front().epoch, Epoch{4});
  EXPECT_EQ(why->front().fields, (TimelineFields{{"reason", "node_lost"}}));
}

TEST_F(PresenceLogTest, EndsThemLaterIfTheStoreIsAwayAtTheStart) {
  const PresenceEvent left{
      .device = device_id("pump"), .epoch = {1}, .online = true, .node = "node-1", .boot_id = "boot-0"};
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&left, 1}); }));
  faults->down = true;
  start();
  EXPECT_TRUE(sink.presence.empty());
  pass(3s);
  faults->down = false;
  pass(20s);
  EXPECT_EQ(events(), (Texts{"pump online 1", "pump offline 1 node_lost"}));
  EXPECT_EQ(sink.presence.size(), 1U);
}

TEST_F(PresenceLogTest, LetsTheLogSayWhyADeviceLeftBeforeItCallsItLost) {
  const PresenceEvent left{
      .device = device_id("pump"), .epoch = {1}, .online = true, .node = "node-1", .boot_id = "boot-0"};
  PresenceEvent silent = left;
  silent.device = device_id("silent");
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&left, 1}); }));
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&silent, 1}); }));
  feed.fetching = true;  // what the process before left in the spool is still on its way from the disk
  push(make.presence("pump", 1, false, "boot-0", "heartbeat_lost"));
  start();
  pass(1s);
  EXPECT_EQ(events(), (Texts{"pump online 1", "silent online 1"}));
  feed.fetching = false;
  lane.notify();
  pass(5s);
  EXPECT_EQ(events(),
            (Texts{"pump online 1", "silent online 1", "pump offline 1 heartbeat_lost", "silent offline 1 node_lost"}));
}

TEST_F(PresenceLogTest, WaitsForALaneThatIsPausedButNotForEver) {
  const PresenceEvent left{
      .device = device_id("pump"), .epoch = {1}, .online = true, .node = "node-1", .boot_id = "boot-0"};
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&left, 1}); }));
  push(make.presence("pump", 1, false, "boot-0", "heartbeat_lost"));
  lane.hold(true);
  start();
  pass(PresenceLog::k_replay_max - 2s);
  EXPECT_EQ(events(), (Texts{"pump online 1"}));
  pass(5s);
  EXPECT_EQ(events(), (Texts{"pump online 1", "pump offline 1 node_lost"}));
}

TEST_F(PresenceLogTest, HoldsItsLeaseForAsLongAsItLives) {
  start();
  for (int i = 0; i < 60; ++i) {
    pass(1s);
    Answer<std::vector<NodeRow>> answer;
    presence.nodes(answer.reply());
    settle();
    ASSERT_TRUE(answer.there() && *answer);
    ASSERT_EQ((*answer)->size(), 1U);
    EXPECT_TRUE((*answer)->front().live) << i;
    EXPECT_EQ((*answer)->front().boot_id, "boot-1");
  }
}

TEST_F(PresenceLogTest, WritesTimeStampsOnceAMinuteAndAsADeviceLeaves) {
  push(make.presence("pump", 5, true).presence("valve", 6, true));
  start();
  const auto seen = [&](const std::string& id) { return rows().at(id).last_seen_unix_ms; };
  presence.seen({{device_id("pump"), {5}, 100, 90}, {device_id("valve"), {6}, 100, 0}});
  pass(10s);
  presence.seen({{device_id("pump"), {5}, 200, 190}, {device_id("valve"), {6}, 200, 0}});
  pass(20s);
  EXPECT_EQ(seen("pump"), 0) << "not every ten seconds";
  presence.changed({summary("valve", 6, false, 250)});
  pass(1s);
  EXPECT_EQ(seen("valve"), 250) << "as it leaves";
  EXPECT_EQ(seen("pump"), 0);
  pass(30s);
  EXPECT_EQ(seen("pump"), 200);
  EXPECT_EQ(rows().at("pump").last_data_unix_ms, 190);
}

TEST_F(PresenceLogTest, KeepsTimeStampsThroughAnOutageAndWritesTheNewest) {
  push(make.presence("pump", 5, true));
  start();
  presence.seen({{device_id("pump"), {5}, 100, 0}});
  faults->down = true;
  pass(61s);
  presence.seen({{device_id("pump"), {5}, 200, 0}});
  pass(61s);
  faults->down = false;
  pass(62s);
  EXPECT_EQ(rows().at("pump").last_seen_unix_ms, 200);
}

TEST_F(PresenceLogTest, WritesAFleetsTimeStampsInSteps) {
  const std::size_t count = 2 * PresenceLog::k_stamps + 1;
  std::vector<SeenUpdate> updates;
  for (std::size_t i = 0; i < count; ++i) {
    make.presence("d" + std::to_string(i), 1, true);
    updates.push_back({device_id("d" + std::to_string(i)), {1}, 100, 0});
  }
  push(make);
  start();
  presence.seen(updates);
  int steps = 0;
  faults->look = [&](std::string_view call) { steps += call == "set_seen" ? 1 : 0; };
  pass(61s);
  EXPECT_EQ(steps, 3);
  for (const auto& [id, row] : rows()) EXPECT_EQ(row.last_seen_unix_ms, 100) << id;
}

TEST_F(PresenceLogTest, HandsInWhatItHasAtTheEnd) {
  push(make.presence("pump", 5, true));
  start();
  presence.seen({{device_id("pump"), {5}, 100, 0}});
  settle();
  presence.stop(1s);
  worker.stop(1s);
  EXPECT_EQ(rows().at("pump").last_seen_unix_ms, 100);
}

TEST_F(PresenceLogTest, InterruptsAStoreThatDoesNotAnswerAtTheEnd) {
  start();
  std::promise<void> hangs;
  std::promise<void> interrupted;
  faults->look = [&, first = true](std::string_view call) mutable {
    if (call != "nodes" || !std::exchange(first, false)) return;
    hangs.set_value();
    interrupted.get_future().wait();
  };
  faults->interrupted = [&] { interrupted.set_value(); };
  worker.start();
  ASSERT_TRUE(worker.submit(
      [](DeviceStore& store) -> Result<void> {
        auto nodes = store.nodes();
        return nodes ? Result<void>() : nodes.error();
      },
      [](const Result<void>&) {}));
  hangs.get_future().wait();
  presence.stop(10ms);  // without the interruption it would never return
  worker.stop(60s);
}

TEST_F(PresenceLogTest, SaysAgainWhatTheLogHadToGiveUp) {
  push(make.presence("a", 1, true).presence("b", 2, true).presence("c", 3, true));
  presence.changed({summary("a", 1, true), summary("b", 2, true), summary("c", 3, true)});
  start();
  faults->down = true;
  push(make.presence("a", 1, false));
  presence.changed({summary("a", 1, false)});
  settle_lane();  // in the lane's hands
  push(make.presence("b", 2, false).presence("b", 4, true));
  presence.changed({summary("b", 2, false), summary("b", 4, true)});
  push(make.presence("c", 3, false));
  presence.changed({summary("c", 3, false)});
  feed.lose(4);  // all there is, so far
  push(make.presence("d", 9, true));
  presence.changed({summary("d", 9, true)});
  faults->down = false;
  pass(20s);
  const auto now = rows();
  EXPECT_FALSE(now.at("a").online);
  EXPECT_TRUE(now.at("b").online);
  EXPECT_EQ(now.at("b").epoch, Epoch{4});
  EXPECT_FALSE(now.at("c").online);
  EXPECT_EQ(now.at("c").reason, "bye");
  EXPECT_TRUE(now.at("d").online);
}

TEST_F(PresenceLogTest, SaysAgainWhatTheStoreRefused) {
  start();
  int refusals = 2;  // in the batch, and by itself
  faults->error = Errc::internal;
  faults->look = [&](std::string_view call) {
    if (call == "add_presence" && refusals-- > 0) faults->fail_at = faults->calls - 1;
  };
  push(make.presence("pump", 5, true).presence("valve", 6, true));
  presence.changed({summary("pump", 5, true), summary("valve", 6, true)});
  pass(20ms);
  EXPECT_EQ(events(), (Texts{"valve online 6"}));
  EXPECT_EQ(letters.all().size(), 1U);
  pass(2s);
  EXPECT_EQ(events(), (Texts{"valve online 6", "pump online 5"}));
}

TEST_F(PresenceLogTest, SaysAnewWhatItHadNoRoomToKeep) {
  FakeOwners owners;
  PresenceLog narrow(worker, node("boot-1"), clock, log, {.devices_max = 4}, membership);
  ControlLinks links;
  links.owners = &owners;
  ASSERT_TRUE(narrow.start(links));
  const PresenceEvent left{
      .device = device_id("left"), .epoch = {9}, .online = true, .node = "node-1", .boot_id = "boot-1"};
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&left, 1}); }));
  faults->down = true;
  pass(1s);
  // More than can be kept have come, and one has gone; the log has given all of it up.
  for (std::uint64_t i = 1; i <= 6; ++i) {
    owners.connected.push_back(summary("d" + std::to_string(i), i, true));
    narrow.changed({owners.connected.back()});
  }
  narrow.changed({summary("left", 9, false)});
  settle();
  EXPECT_TRUE(log.has("presence_untold_full"));
  narrow.missed();
  faults->down = false;
  pass(30s);
  const auto now = rows();
  for (int i = 1; i <= 6; ++i) {
    const auto found = now.find("d" + std::to_string(i));
    ASSERT_NE(found, now.end()) << i;
    EXPECT_TRUE(found->second.online);
  }
  EXPECT_FALSE(now.at("left").online);
  EXPECT_EQ(now.at("left").reason, "bye");
}

TEST_F(PresenceLogTest, SaysAnewWhatAStoreThatWasSetBackDoesNotKnow) {
  FakeOwners owners;
  ControlLinks links;
  links.owners = &owners;
  ASSERT_TRUE(presence.start(links));
  const PresenceEvent stale{
      .device = device_id("gone"), .epoch = {3}, .online = true, .node = "node-1", .boot_id = "boot-1"};
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&stale, 1}); }));
  owners.connected = {summary("pump", 5, true)};
  presence.reconcile();
  pass(1s);
  EXPECT_EQ(events(), (Texts{"gone online 3", "pump online 5", "gone offline 3 bye"}));
  presence.reconcile();
  pass(1s);
  EXPECT_EQ(events().size(), 3U) << "and no more than once";
}

TEST_F(PresenceLogTest, SaysFirmwareAndLabelsAnewWhereTheStoreWasSetBack) {
  FakeOwners owners;
  ControlLinks links;
  links.owners = &owners;
  ASSERT_TRUE(presence.start(links));
  ASSERT_TRUE(ask<DeviceEntry>([&](DeviceStore& store) {
    return store.put_device({.id = device_id("pump"), .labels = {{"site", "north"}}, .note = {}}, std::nullopt);
  }));
  const std::vector<ProfileUpdate> before{{device_id("pump"), {2}, "1.0", {{"kind", "old"}}},
                                          {device_id("fan"), {6}, "3.0", {{"kind", "fan"}, {"own", "kept"}}}};
  ASSERT_TRUE(worker.run_now([&](DeviceStore& store) { return store.set_profiles(before); }));
  const auto profiled = [&](const std::string& id, std::uint64_t epoch, std::string firmware, Labels labels) {
    DeviceSummary device = summary(id, epoch, true);
    device.firmware = std::move(firmware);
    device.labels = std::move(labels);
    owners.connected.push_back(std::move(device));
  };
  profiled("pump", 5, "2.0", {{"kind", "pump"}, {"site", "north"}});
  profiled("fan", 6, "3.0", {{"kind", "fan"}, {"own", "kept"}});
  profiled("new", 7, "4.0", {{"kind", "valve"}});
  presence.reconcile();
  pass(1s);
  auto now = rows();
  EXPECT_EQ(now.at("pump").firmware, "2.0");
  EXPECT_EQ(now.at("pump").labels, (Labels{{"kind", "pump"}})) << "the registry's are its own";
  EXPECT_EQ(now.at("fan").labels, (Labels{{"kind", "fan"}, {"own", "kept"}}));
  EXPECT_EQ(now.at("new").firmware, "4.0");
  const std::uint64_t writes = faults->commits;
  bool written = false;
  faults->look = [&](std::string_view call) { written = written || call == "set_profiles"; };
  presence.reconcile();
  pass(1s);
  EXPECT_GT(faults->commits, writes);
  EXPECT_FALSE(written) << "what is there is not written again";
}

TEST_F(PresenceLogTest, EndsAConnectionToAnotherNodeInTheStore) {
  start();
  const std::vector<PresenceEvent> there{presence_event("pump", 5, true, "node-2"),
                                         presence_event("own", 6, true, "node-1")};
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence(there); }));
  for (const auto& [id, expected] : std::map<std::string, bool>{{"pump", true}, {"own", false}, {"none", false}}) {
    Answer<bool> answer;
    presence.kick(device_id(id), answer.reply());
    settle();
    ASSERT_TRUE(answer.there() && *answer) << id;
    EXPECT_EQ(**answer, expected) << id;
  }
  EXPECT_EQ(rows().at("pump").reason, "kicked");
  EXPECT_EQ(rows().at("pump").node, "node-2");
  EXPECT_TRUE(rows().at("own").online);
  Answer<bool> again;
  presence.kick(device_id("pump"), again.reply());
  settle();
  EXPECT_FALSE(**again);
}

TEST_F(PresenceLogTest, KeepsTheNewestEventsAlone) {
  PresenceLog narrow(worker, node("boot-1"), clock, log, {.events_max = 10}, membership);
  ASSERT_TRUE(narrow.start({}));
  for (std::uint64_t epoch = 1; epoch <= 20; ++epoch) make.presence("pump", epoch, true);
  push(make);
  start();
  EXPECT_EQ(events().size(), 20U);
  pass(61s);
  const Texts left = events();
  EXPECT_EQ(left.size(), 10U);
  EXPECT_EQ(left.back(), "pump online 20");
}

TEST_F(PresenceLogTest, AnswersWhatHappenedToADevice) {
  push(make.presence("pump", 5, true).presence("valve", 6, true).presence("pump", 5, false));
  start();
  Answer<std::vector<PresenceEvent>> answer;
  presence.presence(device_id("pump"), 0, 10, answer.reply());
  settle();
  ASSERT_TRUE(answer.there() && *answer);
  ASSERT_EQ((*answer)->size(), 2U);
  EXPECT_FALSE((*answer)->front().online) << "newest first";
  faults->down = true;
  Answer<std::vector<PresenceEvent>> late;
  presence.presence(device_id("pump"), 0, 10, late.reply());
  settle();
  EXPECT_EQ(late->error().code, Errc::unavailable);
}

}  // namespace
}  // namespace fieldgate::control
