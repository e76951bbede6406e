// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/registry_desk.h"

#include "tests/unit/control/registry_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

// Several nodes, or a store that was set back: what the desk did not write itself.
using RegistryFollowTest = RegistryDeskTest;

TEST_F(RegistryFollowTest, HearsOfWhatOtherNodesChange) {
  DeviceEntry entry{.id = device_id("pump"), .labels = {{"site", "b"}}, .note = {}};
  put_elsewhere(entry);
  settle();
  EXPECT_EQ(desk.find(entry.id), nullptr);
  pass(1s);
  ASSERT_NE(desk.find(entry.id), nullptr);
  EXPECT_EQ(desk.find(entry.id)->labels, entry.labels);
  entry.enabled = false;
  put_elsewhere(entry);
  pass(1s);
  ASSERT_EQ(downlink.closed.size(), 1U);
  EXPECT_EQ(downlink.closed[0].second, EndReason::device_disabled);
  ASSERT_TRUE(ask<std::optional<RegistryChange>>(
      [&](DeviceStore& store) { return store.delete_device(entry.id, std::nullopt); }));
  pass(1s);
  EXPECT_EQ(desk.find(entry.id), nullptr);
  EXPECT_EQ(sink.registry.size(), 3U);
  EXPECT_TRUE(recorder.entries.empty()) << "who made them wrote them down";
}

TEST_F(RegistryFollowTest, DoesNotLoseWhatAnotherNodeWritesInBetween) {
  put("pump", noted("mine"));
  // The store refuses the first attempt, as if another node had been faster.
  faults->error = Errc::conflict;
  faults->look = [&](std::string_view call) {
    if (call != "put_device") return;
    faults->fail_at = faults->calls - 1;
    faults->look = nullptr;
  };
  const auto changed = put("pump", labelled({{"site", "b"}}), PutMode::update);
  ASSERT_TRUE(changed) << changed.error().detail;
  EXPECT_EQ(changed->note, "mine");
}

// As a copy that was made before the desk's newest revisions.
TEST_F(RegistryFollowTest, ReadsAllAnewOnceTheStoreHasBeenSetBack) {
  const auto kept = put("kept", noted("the same"));
  put("pump", noted("new"));
  put("gone", noted("made after the copy"));
  put("valve");
  put("valve", enabled(false), PutMode::update);
  std::shared_ptr<DeviceStore> copy = sqlite::make_sqlite_store(":memory:", clock);
  ASSERT_TRUE(copy->open());
  ASSERT_TRUE(copy->put_device(*kept, std::nullopt));
  ASSERT_TRUE(copy->put_device({.id = device_id("pump"), .labels = {{"site", "b"}}, .note = "old"}, std::nullopt));
  ASSERT_TRUE(copy->put_device({.id = device_id("removed"), .labels = {}, .note = "since"}, std::nullopt));
  pass(1s);
  sink.registry.clear();
  downlink.closed.clear();
  faults->next = copy;
  pass(2s);
  EXPECT_EQ(listed(), (Texts{"kept", "pump", "removed"}));
  EXPECT_EQ(desk.find(device_id("pump"))->note, "old");
  EXPECT_EQ(desk.find(device_id("pump"))->revision, 2U);
  Texts told;
  for (const RegistryChange& change : sink.registry) {
    EXPECT_TRUE(change.anew);
    told.push_back(change.id.str() + (change.entry ? " is" : " is not"));
  }
  EXPECT_EQ(told, (Texts{"pump is", "removed is", "gone is not", "valve is not"}));
  EXPECT_EQ(downlink.closed.size(), 2U);
  EXPECT_TRUE(log.has("registry_read_anew"));

  // And goes on from there.
  put_elsewhere({.id = device_id("late"), .labels = {}, .note = {}});
  pass(1s);
  EXPECT_EQ(listed(), (Texts{"kept", "late", "pump", "removed"}));
}

TEST_F(RegistryFollowTest, ReadsAllAnewWhereDeletionsWereForgottenBeforeItReadThem) {
  put("pump");
  put("valve");
  pass(1s);
  const auto elsewhere = [&](DeviceStore& store) -> Result<std::size_t> {
    if (auto gone = store.delete_device(device_id("pump"), std::nullopt); !gone) return gone.error();
    return store.trim_deletions(0, 100);
  };
  ASSERT_EQ(ask<std::size_t>(elsewhere).value(), 1U);
  pass(2s);
  EXPECT_EQ(listed(), (Texts{"valve"}));
  EXPECT_TRUE(log.has("registry_read_anew"));
}

TEST_F(RegistryFollowTest, HearsOfADeletionElsewhereOfWhatItAddedItselfBeforeItsFirstLook) {
  put("pump");
  ASSERT_TRUE(ask<std::optional<RegistryChange>>(
      [&](DeviceStore& store) { return store.delete_device(device_id("pump"), std::nullopt); }));
  pass(2s);
  EXPECT_EQ(listed(), Texts{});
  put_elsewhere({.id = device_id("valve"), .labels = {}, .note = {}});
  pass(2s);
  EXPECT_EQ(listed(), (Texts{"valve"}));
  EXPECT_FALSE(log.has("registry_read_anew"));
}

TEST_F(RegistryFollowTest, ForgetsAllButTheNewestDeletionsAndReadsNothingAnewForIt) {
  RegistryDesk trimming(worker, clock, log, {.deletions_kept = 2});
  ASSERT_TRUE(trimming.start({{}, nullptr, nullptr}));
  for (const std::string id : {"a", "b", "c", "d", "e"}) put(id);
  for (const std::string id : {"a", "b", "c", "d", "e"}) {
    Answer<std::uint64_t> removed;
    desk.remove(device_id(id), std::nullopt, "api:kim", removed.reply());
    settle();
    ASSERT_TRUE(removed.there() && *removed);
  }
  pass(61s);
  const auto marks = ask<RegistryMarks>([](DeviceStore& store) { return store.registry_marks(); });
  ASSERT_TRUE(marks);
  EXPECT_EQ(marks->newest, 10U);
  EXPECT_EQ(marks->trimmed, 8U);
  pass(5s);
  EXPECT_FALSE(log.has("registry_read_anew"));
}

}  // namespace
}  // namespace fieldgate::control
