// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/registry_desk.h"

#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

const std::string k_hash_a(64, 'a');
const std::string k_hash_b(64, 'b');

DevicePatch enabled(bool is) {
  DevicePatch patch;
  patch.enabled = is;
  return patch;
}
DevicePatch noted(std::string note) {
  DevicePatch patch;
  patch.note = std::move(note);
  return patch;
}
DevicePatch labelled(Labels labels) {
  DevicePatch patch;
  patch.labels = std::move(labels);
  return patch;
}
DevicePatch described(std::string note, Labels labels) {
  DevicePatch patch = noted(std::move(note));
  patch.labels = std::move(labels);
  return patch;
}

struct RegistryDeskTest : testing::Test, StoreFixture {
  RegistryDeskTest() {
    EXPECT_TRUE(worker.open());
    EXPECT_TRUE(desk.start({{&sink}, &downlink, &recorder}));
  }

  Result<DeviceEntry> put(const std::string& id, DevicePatch patch = {}, PutMode mode = PutMode::replace,
                          std::optional<std::uint64_t> expected = std::nullopt) {
    Answer<DeviceEntry> answer;
    desk.put(device_id(id), std::move(patch), mode, expected, "api:kim", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return *answer;
  }
  Result<DeviceEntry> get(const std::string& id) {
    Answer<DeviceEntry> answer;
    desk.get(device_id(id), answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return *answer;
  }
  Result<DeviceCredential> add(const std::string& id, NewCredential credential) {
    Answer<DeviceCredential> answer;
    desk.add_credential(device_id(id), std::move(credential), "api:kim", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return *answer;
  }
  Texts listed(const std::string& after = {}, std::size_t limit = 100) {
    Answer<std::vector<DeviceEntry>> answer;
    desk.list(after, limit, answer.reply());
    settle();
    Texts ids;
    if (answer.there() && *answer) {
      for (const auto& entry : **answer) ids.push_back(entry.id.str());
    }
    return ids;
  }
  // As another node would, behind the desk's back.
  void put_elsewhere(const DeviceEntry& entry) {
    ASSERT_TRUE(ask<DeviceEntry>([&](DeviceStore& store) { return store.put_device(entry, std::nullopt); }));
  }
  static Errc code(const Error& error) { return static_cast<Errc>(error.code.value()); }

  RecordingSink sink;
  RecordingDownlink downlink;
  RecordingRecorder recorder;
  RegistryDesk desk{worker, clock, log, {}};
};

TEST_F(RegistryDeskTest, CreatesUpdatesAndReplaces) {
  const auto made = put("pump", described("north field", {{"site", "b"}, {"kind", "pump"}}), PutMode::create);
  ASSERT_TRUE(made) << made.error().detail;
  EXPECT_EQ(made->labels, (Labels{{"kind", "pump"}, {"site", "b"}})) << "sorted by key";
  EXPECT_GT(made->revision, 0U);

  DevicePatch patch;
  patch.label_changes = {{"site", "c"}, {"kind", std::nullopt}, {"age", "3"}};
  clock.passed += 5s;
  const auto changed = put("pump", patch, PutMode::update, made->revision);
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->labels, (Labels{{"age", "3"}, {"site", "c"}}));
  EXPECT_EQ(changed->note, "north field");
  EXPECT_GT(changed->revision, made->revision);
  EXPECT_EQ(changed->created_unix_ms, made->created_unix_ms);
  EXPECT_EQ(changed->updated_unix_ms, made->updated_unix_ms + 5'000);

  const auto replaced = put("pump");
  ASSERT_TRUE(replaced);
  EXPECT_TRUE(replaced->labels.empty() && replaced->note.empty() && replaced->enabled);
  EXPECT_EQ(get("pump")->revision, replaced->revision);
}

TEST_F(RegistryDeskTest, SaysWhyItDoesNot) {
  EXPECT_EQ(code(get("pump").error()), Errc::not_found);
  EXPECT_EQ(code(put("pump", {}, PutMode::update).error()), Errc::not_found);
  const auto made = put("pump");
  ASSERT_TRUE(made);
  EXPECT_EQ(code(put("pump", {}, PutMode::create).error()), Errc::conflict);
  EXPECT_EQ(code(put("pump", {}, PutMode::replace, made->revision + 1).error()), Errc::conflict);
  EXPECT_EQ(code(put("other", {}, PutMode::replace, 7).error()), Errc::not_found);
  EXPECT_TRUE(put("other", {}, PutMode::replace, 0));
}

TEST_F(RegistryDeskTest, HoldsLabelsAndNotesToTheirBounds) {
  const auto refused = [&](DevicePatch patch) {
    const auto put_it = put("pump", std::move(patch));
    EXPECT_FALSE(put_it);
    return put_it ? Errc::internal : code(put_it.error());
  };
  EXPECT_EQ(refused(labelled({{"", "x"}})), Errc::invalid_argument);
  EXPECT_EQ(refused(labelled({{std::string(65, 'k'), "x"}})), Errc::invalid_argument);
  EXPECT_EQ(refused(labelled({{"k", std::string(257, 'v')}})), Errc::too_large);
  EXPECT_EQ(refused(labelled({{"k", "a\nb"}})), Errc::invalid_argument);
  EXPECT_EQ(refused(labelled({{"k", "\xc3\x28"}})), Errc::invalid_argument);
  EXPECT_EQ(refused(labelled({{"k", "1"}, {"k", "2"}})), Errc::invalid_argument);
  EXPECT_EQ(refused(noted(std::string(257, 'n'))), Errc::too_large);
  EXPECT_EQ(refused(noted("\x7f")), Errc::invalid_argument);
  Labels many;
  for (int i = 0; i < 33; ++i) many.emplace_back("k" + std::to_string(i), "");
  EXPECT_EQ(refused(labelled(many)), Errc::too_large);
  many.pop_back();
  EXPECT_TRUE(put("pump", described("Gr\xc3\xb6\xc3\x9f"
                                    "e",
                                    many)));
}

TEST_F(RegistryDeskTest, TellsOfChangesInOrder) {
  const auto made = put("pump");
  put("pump", enabled(false), PutMode::update);
  Answer<std::uint64_t> removed;
  desk.remove(device_id("pump"), std::nullopt, "api:kim", removed.reply());
  settle();
  ASSERT_TRUE(removed.there() && *removed);
  ASSERT_EQ(sink.registry.size(), 3U);
  EXPECT_EQ(sink.registry[0].revision, made->revision);
  EXPECT_FALSE(sink.registry[1].entry->enabled);
  EXPECT_FALSE(sink.registry[2].entry);
  EXPECT_LT(sink.registry[1].revision, sink.registry[2].revision);
  EXPECT_EQ(desk.find(device_id("pump")), nullptr);
  pass(5s);
  EXPECT_EQ(sink.registry.size(), 3U) << "one's own changes are not told again";
}

TEST_F(RegistryDeskTest, EndsTheConnectionOfADeviceThatIsDisabledOrRemoved) {
  put("pump");
  put("pump", noted("old"), PutMode::update);
  EXPECT_TRUE(downlink.closed.empty());
  put("pump", enabled(false), PutMode::update);
  put("pump", noted("older"), PutMode::update);
  using Closed = std::vector<std::pair<std::string, EndReason>>;
  EXPECT_EQ(downlink.closed, (Closed{{"pump", EndReason::device_disabled}}));
  Answer<std::uint64_t> removed;
  desk.remove(device_id("pump"), std::nullopt, "api:kim", removed.reply());
  settle();
  EXPECT_EQ(downlink.closed.back(), (std::pair<std::string, EndReason>("pump", EndReason::credential_revoked)));
  Answer<std::uint64_t> again;
  desk.remove(device_id("pump"), std::nullopt, "api:kim", again.reply());
  settle();
  EXPECT_EQ(code(again->error()), Errc::not_found);
}

TEST_F(RegistryDeskTest, WritesDownWhoChangedWhat) {
  put("pump", enabled(true));
  add("pump", {.kind = CredentialKind::token, .sha256 = k_hash_a, .note = {}});
  put("pump", enabled(false), PutMode::update);
  DevicePatch both = enabled(true);
  both.note = "x";
  put("pump", both, PutMode::update);
  EXPECT_EQ(recorder.texts(), (Texts{"created api:kim", "credential_added api:kim", "disabled api:kim",
                                     "enabled api:kim", "updated api:kim"}));
}

TEST_F(RegistryDeskTest, RotatesCredentialsWithOverlap) {
  put("pump");
  const auto first = add("pump", {.kind = CredentialKind::token, .sha256 = k_hash_a, .note = {}});
  ASSERT_TRUE(first);
  const std::int64_t overlap = clock.unix_ms() + 60'000;
  const auto second =
      add("pump", {.kind = CredentialKind::token, .sha256 = k_hash_b, .note = {}, .others_expire_unix_ms = overlap});
  ASSERT_TRUE(second);
  EXPECT_NE(first->id, second->id);
  const auto entry = get("pump");
  ASSERT_EQ(entry->credentials.size(), 2U);
  EXPECT_EQ(entry->credentials[0].expires_unix_ms, overlap);
  EXPECT_EQ(entry->credentials[1].expires_unix_ms, 0);

  downlink.rechecked.clear();
  pass(59s);
  EXPECT_TRUE(downlink.rechecked.empty());
  pass(2s);
  EXPECT_EQ(downlink.rechecked, (Texts{"pump"})) << "what stands on the old one ends when that expires";
}

TEST_F(RegistryDeskTest, RefusesCredentialsThatCannotBe) {
  put("pump");
  put("valve");
  const auto refused = [&](NewCredential credential) {
    const auto added = add("pump", std::move(credential));
    EXPECT_FALSE(added);
    return added ? Errc::internal : code(added.error());
  };
  const auto token = [](std::string hash) { return NewCredential{.sha256 = std::move(hash), .note = {}}; };
  EXPECT_EQ(refused(token("abc")), Errc::invalid_argument);
  EXPECT_EQ(refused(token(std::string(64, 'G'))), Errc::invalid_argument);
  EXPECT_EQ(refused({.sha256 = k_hash_a, .expires_unix_ms = clock.unix_ms(), .note = {}}), Errc::invalid_argument);
  EXPECT_EQ(refused({.sha256 = k_hash_a, .note = std::string(257, 'n')}), Errc::too_large);
  ASSERT_TRUE(add("valve", token(k_hash_b)));
  EXPECT_EQ(refused(token(k_hash_b)), Errc::conflict) << "another device's";
  for (std::size_t i = 0; i < k_credentials_per_device_max; ++i) {
    ASSERT_TRUE(add("pump", token(std::string(63, 'c') + std::to_string(i))));
  }
  EXPECT_EQ(refused(token(std::string(63, 'c') + "0")), Errc::conflict) << "its own already";
  EXPECT_EQ(refused(token(k_hash_a)), Errc::full);
  Answer<DeviceCredential> nobody;
  desk.add_credential(device_id("nobody"), token(k_hash_a), "api:kim", nobody.reply());
  settle();
  EXPECT_EQ(code(nobody->error()), Errc::not_found);
}

TEST_F(RegistryDeskTest, ChecksTheConnectionThatStandsOnARemovedCredential) {
  put("pump");
  const auto token = add("pump", {.sha256 = k_hash_a, .note = {}});
  ASSERT_TRUE(token);
  downlink.rechecked.clear();
  Answer<bool> removed;
  desk.remove_credential(device_id("pump"), token->id, "api:kim", removed.reply());
  settle();
  ASSERT_TRUE(removed.there() && *removed);
  EXPECT_EQ(downlink.rechecked, (Texts{"pump"}));
  EXPECT_TRUE(get("pump")->credentials.empty());
  Answer<bool> again;
  desk.remove_credential(device_id("pump"), token->id, "api:kim", again.reply());
  settle();
  EXPECT_EQ(code(again->error()), Errc::not_found);
}

TEST_F(RegistryDeskTest, HearsOfWhatOtherNodesChange) {
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

TEST_F(RegistryDeskTest, DoesNotLoseWhatAnotherNodeWritesInBetween) {
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
TEST_F(RegistryDeskTest, ReadsAllAnewOnceTheStoreHasBeenSetBack) {
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

TEST_F(RegistryDeskTest, ReadsAllAnewWhereDeletionsWereForgottenBeforeItReadThem) {
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

TEST_F(RegistryDeskTest, HearsOfADeletionElsewhereOfWhatItAddedItselfBeforeItsFirstLook) {
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

TEST_F(RegistryDeskTest, ForgetsAllButTheNewestDeletionsAndReadsNothingAnewForIt) {
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

TEST_F(RegistryDeskTest, ReadsAllOfALargeRegistryAtItsStart) {
  const std::size_t count = 2 * RegistryDesk::k_page + 7;
  ASSERT_TRUE(worker.run_now([&](DeviceStore& store) -> Result<void> {
    for (std::size_t i = 0; i < count; ++i) {
      auto done = store.put_device({.id = device_id("d" + std::to_string(i)), .labels = {}, .note = {}}, std::nullopt);
      if (!done) return done.error();
    }
    return {};
  }));
  RecordingSink other;
  RegistryDesk second(worker, clock, log, {});
  ASSERT_TRUE(second.start({{&other}, nullptr, nullptr}));
  EXPECT_TRUE(second.loaded());
  EXPECT_EQ(other.registry.size(), count);
}

TEST_F(RegistryDeskTest, ListsFromMemoryAlsoDuringAnOutage) {
  for (const std::string id : {"c", "a", "b"}) put(id);
  faults->down = true;
  EXPECT_EQ(code(get("a").error()), Errc::unavailable);
  EXPECT_EQ(listed(), (Texts{"a", "b", "c"}));
  EXPECT_EQ(listed("a", 1), (Texts{"b"}));
  EXPECT_TRUE(listed("c").empty());
}

TEST_F(RegistryDeskTest, ReadsTheRegistryOnceTheStoreCanBeReached) {
  StoreFixture late;
  late.faults->down = true;
  RegistryDesk desk_of_late(late.worker, late.clock, late.log, {});
  EXPECT_FALSE(late.worker.open());
  EXPECT_TRUE(desk_of_late.start({}));
  EXPECT_FALSE(desk_of_late.loaded());
  Answer<std::vector<DeviceEntry>> early;
  desk_of_late.list({}, 10, early.reply());
  late.pass(5s);
  EXPECT_EQ(code(early->error()), Errc::unavailable);
  late.faults->down = false;
  late.pass(10s);
  EXPECT_TRUE(desk_of_late.loaded());
}

struct RegistryBulkTest : RegistryDeskTest {
  static Registry::Item item(const std::string& id, DevicePatch patch = {}) {
    return {device_id(id), std::move(patch), PutMode::replace, {}};
  }
  std::vector<Result<DeviceEntry>> put_all(std::vector<Registry::Item> items) {
    Answer<std::vector<Result<DeviceEntry>>> answer;
    desk.put_all(std::move(items), "import", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return **answer;
  }
};

TEST_F(RegistryBulkTest, TakesManyInOrderAndSaysOfEachWhatBecameOfIt) {
  std::vector<Registry::Item> items;
  const std::size_t count = 2 * RegistryDesk::k_put_all_step + 3;
  for (std::size_t i = 0; i < count; ++i) items.push_back(item("d" + std::to_string(i)));
  items[5].patch = labelled({{"", "no key"}});
  items[count - 1].mode = PutMode::update;
  const std::uint64_t commits = faults->commits;
  const auto results = put_all(items);
  EXPECT_EQ(faults->commits - commits, 3U);
  ASSERT_EQ(results.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i == 5 || i == count - 1) continue;
    ASSERT_TRUE(results[i]) << i;
    EXPECT_EQ(results[i]->id.str(), "d" + std::to_string(i));
  }
  EXPECT_EQ(code(results[5].error()), Errc::invalid_argument);
  EXPECT_EQ(code(results[count - 1].error()), Errc::not_found);
  EXPECT_EQ(sink.registry.size(), count - 2);
}

TEST_F(RegistryBulkTest, PassesOverWhatTheStoreRefuses) {
  auto items = std::vector{item("a"), item("b"), item("c"), item("d")};
  items[0].credentials.push_back({.sha256 = k_hash_a, .note = {}});
  items[1].credentials.push_back({.sha256 = k_hash_a, .note = {}});  // that is a's
  items[2].credentials.push_back({.sha256 = k_hash_b, .note = {}});
  const auto results = put_all(items);
  EXPECT_TRUE(results[0] && results[2] && results[3]);
  EXPECT_EQ(code(results[1].error()), Errc::conflict);
  EXPECT_EQ(listed(), (Texts{"a", "c", "d"}));
  EXPECT_EQ(get("a")->credentials.size(), 1U);
  const auto again = put_all({items[0]});
  ASSERT_TRUE(again[0]) << "a second import is the same import";
  EXPECT_EQ(again[0]->credentials.size(), 1U);
}

TEST_F(RegistryBulkTest, LeavesAloneWhatItWouldNotChange) {
  auto items = std::vector{item("a", labelled({{"site", "north"}})), item("b")};
  items[0].credentials.push_back({.sha256 = k_hash_a, .note = {}});
  const auto first = put_all(items);
  const std::size_t told = sink.registry.size();
  clock.passed += 5s;
  items[1].patch = labelled({{"site", "south"}});
  const auto again = put_all(items);
  ASSERT_TRUE(first[0] && first[1] && again[0] && again[1]);
  EXPECT_EQ(again[0]->revision, first[0]->revision);
  EXPECT_EQ(again[0]->updated_unix_ms, first[0]->updated_unix_ms);
  EXPECT_EQ(again[0]->credentials, first[0]->credentials);
  EXPECT_GT(again[1]->revision, first[1]->revision);
  EXPECT_EQ(sink.registry.size(), told + 1) << "of the other alone";
}

TEST_F(RegistryBulkTest, SaysWhatAnOutageCutOff) {
  std::vector<Registry::Item> items;
  for (std::size_t i = 0; i < RegistryDesk::k_put_all_step + 1; ++i) items.push_back(item("d" + std::to_string(i)));
  int commits = 0;
  faults->look = [&](std::string_view call) {
    if (call == "commit") ++commits;
    faults->down = commits >= 1 && call == "begin";
  };
  const auto results = put_all(items);
  EXPECT_TRUE(results.front());
  ASSERT_FALSE(results.back());
  EXPECT_EQ(code(results.back().error()), Errc::unavailable);
}

}  // namespace
}  // namespace fieldgate::control
