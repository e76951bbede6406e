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

}  // namespace
}  // namespace fieldgate::control
