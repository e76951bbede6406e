// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admission_desk.h"

#include "gateway/control/presence_log.h"
#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

struct AdmissionDeskTest : testing::Test, StoreFixture {
  AdmissionDeskTest() {
    EXPECT_TRUE(worker.open());
    EXPECT_TRUE(registry.start({{&sink}, nullptr, &recorder}));
  }
  void register_device(const std::string& id, bool enabled = true) {
    DevicePatch patch;
    patch.enabled = enabled;
    patch.labels = Labels{{"site", "b"}};
    registry.put(device_id(id), patch, PutMode::replace, std::nullopt, "test",
                 [](const Result<DeviceEntry>& put) { EXPECT_TRUE(put); });
    settle();
  }
  void admit(AdmissionDesk& at, const std::string& id, DeviceProfile profile = {}) {
    at.admit(device_id(id), profile, [this](AdmissionOutcome outcome) { outcomes.push_back(std::move(outcome)); });
  }
  EndReason refusal(std::size_t i) const { return std::get<EndReason>(outcomes.at(i)); }
  Epoch epoch(std::size_t i) const { return std::get<Admitted>(outcomes.at(i)).epoch; }

  RecordingSink sink;
  RecordingRecorder recorder;
  RegistryDesk registry{worker, clock, log, {}};
  AdmissionDesk desk{worker, registry, clock, {.floor = {1'000}}};
  std::vector<AdmissionOutcome> outcomes;
};

TEST_F(AdmissionDeskTest, GivesEachConnectionAHigherEpochThanAnyBefore) {
  register_device("pump");
  admit(desk, "pump");
  admit(desk, "pump");
  settle();
  admit(desk, "pump");
  settle();
  ASSERT_EQ(outcomes.size(), 3U);
  EXPECT_GT(epoch(0).value, 1'000U);
  EXPECT_GT(epoch(1), epoch(0));
  EXPECT_GT(epoch(2), epoch(1));
  EXPECT_EQ(std::get<Admitted>(outcomes[0]).labels, (Labels{{"site", "b"}}));
}

TEST_F(AdmissionDeskTest, RenewsNoConnectionThatALaterOneHasReplaced) {
  register_device("pump");
  admit(desk, "pump");
  settle();
  const auto renew = [&](std::size_t i) {
    desk.renew(device_id("pump"), epoch(i),
               [this](AdmissionOutcome outcome) { outcomes.push_back(std::move(outcome)); });
    settle();
  };
  renew(0);
  renew(0);  // the answer was lost
  admit(desk, "pump");
  settle();
  ASSERT_EQ(outcomes.size(), 4U);
  EXPECT_GT(epoch(1), epoch(0));
  EXPECT_GT(epoch(2), epoch(1));
  EXPECT_GT(epoch(3), epoch(2));
  const PresenceEvent elsewhere{.device = device_id("pump"), .epoch = epoch(3), .online = true, .node = "gw-2"};
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&elsewhere, 1}); }));
  renew(2);
  EXPECT_EQ(refusal(4), EndReason::taken_over);
}

// To a store that was set back, a device is what "valve" is here: never seen.
TEST_F(AdmissionDeskTest, GivesEpochsAboveAllItGaveAlsoWhereTheStoreKnowsOfNone) {
  register_device("pump");
  register_device("valve");
  for (int i = 0; i < 5; ++i) admit(desk, "pump");
  settle();
  admit(desk, "valve");
  settle();
  ASSERT_EQ(outcomes.size(), 6U);
  EXPECT_GT(epoch(5), epoch(4));
}

TEST_F(AdmissionDeskTest, TakesAllThatWaitInOneTransaction) {
  for (int i = 0; i < 50; ++i) register_device("d" + std::to_string(i));
  const std::uint64_t commits = faults->commits;
  for (int i = 0; i < 50; ++i) admit(desk, "d" + std::to_string(i));
  EXPECT_TRUE(outcomes.empty());
  settle();
  EXPECT_EQ(outcomes.size(), 50U);
  EXPECT_EQ(faults->commits - commits, 1U);
}

TEST_F(AdmissionDeskTest, RefusesUnknownAndDisabledDevices) {
  register_device("off", false);
  admit(desk, "nobody");
  admit(desk, "off");
  settle();
  EXPECT_EQ(refusal(0), EndReason::device_unknown);
  EXPECT_EQ(refusal(1), EndReason::device_disabled);
}

TEST_F(AdmissionDeskTest, RegistersWhomThePolicyLetsIn) {
  AdmissionDesk open(worker, registry, clock, {.auto_register = true});
  register_device("off", false);
  admit(open, "new");
  admit(open, "off");
  settle();
  EXPECT_TRUE(std::holds_alternative<Admitted>(outcomes[0]));
  EXPECT_EQ(refusal(1), EndReason::device_disabled);
  ASSERT_NE(registry.find(device_id("new")), nullptr);
  EXPECT_TRUE(registry.find(device_id("new"))->automatic);
  EXPECT_EQ(sink.registry.back().id.str(), "new");
  EXPECT_EQ(recorder.texts().back(), "created auto_register");
  admit(desk, "new");
  settle();
  EXPECT_TRUE(std::holds_alternative<Admitted>(outcomes[2]));
}

TEST_F(AdmissionDeskTest, KeepsWhatTheDeviceSaysOfItself) {
  register_device("pump");
  admit(desk, "pump", {"2.1", {{"colour", "red"}}});
  settle();
  const PresenceEvent online{.device = device_id("pump"), .epoch = epoch(0), .online = true};
  ASSERT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence({&online, 1}); }));
  const auto rows = ask<std::vector<PresenceRow>>([](DeviceStore& store) { return store.presence_rows({}, 10); });
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 1U);
  EXPECT_EQ(rows->front().firmware, "2.1");
  EXPECT_EQ(rows->front().labels, (Labels{{"colour", "red"}}));
}

TEST_F(AdmissionDeskTest, TurnsDevicesAwayAtOnceWhileTheStoreIsAway) {
  register_device("pump");
  faults->down = true;
  admit(desk, "pump");
  settle();
  EXPECT_EQ(refusal(0), EndReason::no_epoch);
  admit(desk, "pump");
  EXPECT_EQ(refusal(1), EndReason::no_epoch) << "without a turn of the worker";
  faults->down = false;
  pass(10s);
  admit(desk, "pump");
  settle();
  EXPECT_TRUE(std::holds_alternative<Admitted>(outcomes[2]));
}

TEST_F(AdmissionDeskTest, TurnsAwayWhatIsOverItsBound) {
  register_device("pump");
  AdmissionDesk narrow(worker, registry, clock, {.waiting_max = 2});
  for (int i = 0; i < 3; ++i) admit(narrow, "pump");
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(refusal(0), EndReason::no_epoch);
  settle();
  ASSERT_EQ(outcomes.size(), 3U);
  admit(narrow, "pump");
  settle();
  EXPECT_TRUE(std::holds_alternative<Admitted>(outcomes[3]));
}

TEST_F(AdmissionDeskTest, LetsNobodyInBeforeTheRegistryIsRead) {
  register_device("pump");
  RegistryDesk unread(worker, clock, log, {});
  AdmissionDesk early(worker, unread, clock, {});
  admit(early, "pump");
  settle();
  EXPECT_EQ(refusal(0), EndReason::no_epoch);
}

TEST_F(AdmissionDeskTest, AnswersAlsoAfterTheEnd) {
  register_device("pump");
  admit(desk, "pump");
  worker.stop(0ms);
  admit(desk, "pump");
  ASSERT_EQ(outcomes.size(), 2U);
  EXPECT_EQ(refusal(0), EndReason::no_epoch);
  EXPECT_EQ(refusal(1), EndReason::no_epoch);
}

// Shards ask at once, and say meanwhile what becomes of their devices.
TEST(AdmissionDeskThread, AnswersEachShardInTheOrderOfItsCalls) {
  constexpr int k_shards = 3;
  constexpr int k_calls = 400;
  SystemClock clock;
  test::SilentLog log;
  StoreWorker worker(sqlite::make_sqlite_store(":memory:", clock), clock, log);
  ASSERT_TRUE(worker.open());
  RegistryDesk registry(worker, clock, log, {});
  MembershipProbe membership;
  PresenceLog presence(worker, {.name = "node-1", .boot_id = "boot-1", .version = "1"}, clock, log, {}, membership);
  AdmissionDesk desk(worker, registry, clock, {.auto_register = true});
  ASSERT_TRUE(registry.start({}));
  ASSERT_TRUE(presence.start({}));
  worker.start();
  std::vector<std::vector<std::uint64_t>> epochs(k_shards);  // filled on the store's thread
  std::vector<std::thread> shards;
  for (int shard = 0; shard < k_shards; ++shard) {
    shards.emplace_back([&, shard] {
      const DeviceId id = device_id("d" + std::to_string(shard));
      for (int i = 0; i < k_calls; ++i) {
        desk.admit(id, {}, [&epochs, shard](const AdmissionOutcome& outcome) {
          epochs[static_cast<std::size_t>(shard)].push_back(std::get<Admitted>(outcome).epoch.value);
        });
        DeviceSummary summary{.id = id};
        summary.epoch = {static_cast<std::uint64_t>(i) + 1};
        summary.online = i % 2 == 0;
        presence.changed({summary});
        presence.seen({{id, summary.epoch, i, i}});
      }
    });
  }
  for (auto& shard : shards) shard.join();
  presence.stop(60s);
  worker.stop(60s);
  for (const auto& of : epochs) {
    ASSERT_EQ(of.size(), static_cast<std::size_t>(k_calls));
    EXPECT_TRUE(std::ranges::adjacent_find(of, std::greater_equal<>()) == of.end())
        << "they rise in the order of calls";
  }
}

}  // namespace
}  // namespace fieldgate::control
