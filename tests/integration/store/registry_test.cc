// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/store_fixture.h"

namespace fieldgate::store {
namespace {

class Registry : public StoreTest {
 protected:
  std::vector<RegistryChange> changes(std::uint64_t after, std::size_t limit = 100) {
    auto found = store_->registry_changes(after, limit);
    EXPECT_TRUE(ok(found));
    return found ? *found : std::vector<RegistryChange>();
  }
};

TEST_P(Registry, GivesBackAnEntryAsItWasPut) {
  DeviceEntry put = entry("dev-1");
  put.enabled = false;
  put.labels = {{"plant", "O'Brien \"north\"; DROP TABLE devices; --"}, {"zäh", "\xF0\x9F\x9A\x80 $1 ? \\ \n"}};
  put.note = std::string(k_note_bytes_max, '"');
  put.automatic = true;
  put.credentials = {credential("c2", 'a'), credential("c1", 'b')};
  put.credentials[1].kind = CredentialKind::certificate;
  put.credentials[1].expires_unix_ms = 99;
  put.credentials[1].note = "Märchen";
  const auto written = store_->put_device(put, std::nullopt);
  ASSERT_TRUE(ok(written));
  EXPECT_EQ(written->revision, 1u);
  const auto found = store_->device(id("dev-1"));
  ASSERT_TRUE(ok(found));
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->id, put.id);
  EXPECT_EQ((*found)->enabled, put.enabled);
  EXPECT_EQ((*found)->labels, put.labels);
  EXPECT_EQ((*found)->note, put.note);
  EXPECT_EQ((*found)->automatic, put.automatic);
  EXPECT_EQ((*found)->created_unix_ms, put.created_unix_ms);
  EXPECT_EQ((*found)->updated_unix_ms, put.updated_unix_ms);
  EXPECT_EQ((*found)->revision, 1u);
  EXPECT_EQ((*found)->credentials, put.credentials);  // in their order
  EXPECT_FALSE(store_->device(id("dev-2"))->has_value());
}

TEST_P(Registry, ReplacesAnEntryWithItsCredentials) {
  DeviceEntry put = entry("dev-1");
  put.credentials = {credential("c1", 'a'), credential("c2", 'b')};
  ASSERT_TRUE(ok(store_->put_device(put, std::nullopt)));
  put.credentials = {credential("c2", 'b'), credential("c3", 'a')};  // a hash may move within a device
  put.note = "new";
  ASSERT_TRUE(ok(store_->put_device(put, 1)));
  const auto found = store_->device(put.id);
  EXPECT_EQ((*found)->credentials, put.credentials);
  EXPECT_EQ((*found)->note, "new");
  EXPECT_EQ((*found)->revision, 2u);
}

TEST_P(Registry, KeepsTextsThatNoEngineTakesAsNearAsItCan) {
  DeviceEntry put = entry("dev-1");
  put.note = std::string("a\0b\xFFz", 5);
  put.labels = {{"k", std::string("\xC3\x28\0", 3)}};
  ASSERT_TRUE(ok(store_->put_device(put, std::nullopt)));
  const auto found = store_->device(put.id);
  EXPECT_EQ((*found)->note,
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBDz");
  EXPECT_EQ((*found)->labels[0].second, "\xEF\xBF\xBD(\xEF\xBF\xBD");
}

TEST_P(Registry, PutsOnlyOverTheRevisionThatWasExpected) {
  EXPECT_TRUE(failed_with(store_->put_device(entry("dev-1"), 5), Errc::conflict));
  ASSERT_TRUE(ok(store_->put_device(entry("dev-1"), 0)));
  EXPECT_TRUE(failed_with(store_->put_device(entry("dev-1"), 0), Errc::conflict));
  EXPECT_TRUE(failed_with(store_->put_device(entry("dev-1"), 2), Errc::conflict));
  ASSERT_TRUE(ok(store_->put_device(entry("dev-1"), 1)));
  EXPECT_TRUE(failed_with(store_->put_device(entry("dev-1"), 1), Errc::conflict));
  EXPECT_EQ((*store_->device(id("dev-1")))->revision, 2u);
}

TEST_P(Registry, GivesAHashToOneDeviceAlone) {
  DeviceEntry first = entry("dev-1");
  first.credentials = {credential("c1", 'a')};
  ASSERT_TRUE(ok(store_->put_device(first, std::nullopt)));
  DeviceEntry second = entry("dev-2");
  second.credentials = {credential("c2", 'c'), credential("c3", 'a')};
  EXPECT_TRUE(failed_with(store_->put_device(second, std::nullopt), Errc::conflict));
  EXPECT_FALSE(store_->device(second.id)->has_value());  // nothing of it was kept
  EXPECT_EQ(changes(0).size(), 1u);
  second.credentials = {credential("c1", 'd')};  // nor an id
  EXPECT_TRUE(failed_with(store_->put_device(second, std::nullopt), Errc::conflict));
  // Once the first has given it up it is free.
  first.credentials.clear();
  ASSERT_TRUE(ok(store_->put_device(first, std::nullopt)));
  second.credentials = {credential("c2", 'c'), credential("c3", 'a')};
  EXPECT_TRUE(ok(store_->put_device(second, std::nullopt)));
}

TEST_P(Registry, TellsEachDeviceThatChangedOnceAndAsItIs) {
  for (const char* name : {"a", "b", "c", "d"}) {
    DeviceEntry put = entry(name);
    put.credentials = {credential(std::string("c-") + name, *name)};
    ASSERT_TRUE(ok(store_->put_device(put, std::nullopt)));
  }
  DeviceEntry changed = entry("b");
  changed.note = "changed";
  ASSERT_TRUE(ok(store_->put_device(changed, std::nullopt)));      // 5
  const auto gone = store_->delete_device(id("c"), std::nullopt);  // 6
  ASSERT_TRUE(ok(gone));
  ASSERT_TRUE(gone->has_value());
  EXPECT_EQ((*gone)->revision, 6u);
  EXPECT_FALSE((*gone)->entry.has_value());

  const auto all = changes(0);
  ASSERT_EQ(all.size(), 3u);  // from the beginning: what there is
  EXPECT_EQ(all[0].id.str(), "a");
  EXPECT_EQ(all[1].id.str(), "d");
  EXPECT_EQ(all[1].entry->credentials[0].id, "c-d");
  EXPECT_EQ(all[2].id.str(), "b");
  EXPECT_EQ(all[2].revision, 5u);
  EXPECT_EQ(all[2].entry->note, "changed");

  const auto later = changes(4);
  ASSERT_EQ(later.size(), 2u);
  EXPECT_EQ(later[0].id.str(), "b");
  EXPECT_EQ(later[1].id.str(), "c");
  EXPECT_EQ(later[1].revision, 6u);
  EXPECT_FALSE(later[1].entry.has_value());
  EXPECT_TRUE(changes(6).empty());

  const auto page = changes(3, 2);
  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0].revision, 4u);
  EXPECT_EQ(page[1].revision, 5u);

  // One that comes again is no longer gone.
  ASSERT_TRUE(ok(store_->put_device(entry("c"), 0)));
  const auto again = changes(5);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].revision, 7u);
  EXPECT_TRUE(again[0].entry.has_value());
}

TEST_P(Registry, ForgetsTheOldestDeletionsInPortionsAndSaysThroughWhich) {
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    ASSERT_TRUE(ok(store_->put_device(entry(name), std::nullopt)));
    ASSERT_TRUE(ok(store_->delete_device(id(name), std::nullopt)));
  }
  const auto marks = [this] { return store_->registry_marks().value(); };
  EXPECT_EQ(marks().newest, 10u);
  EXPECT_EQ(marks().trimmed, 0u);
  EXPECT_EQ(store_->trim_deletions(5, 10).value(), 0u);
  EXPECT_EQ(store_->trim_deletions(1, 3).value(), 3u);  // of four that are too many
  EXPECT_EQ(marks().trimmed, 6u);
  EXPECT_EQ(store_->trim_deletions(1, 3).value(), 1u);
  EXPECT_EQ(store_->trim_deletions(1, 3).value(), 0u);
  EXPECT_EQ(marks().trimmed, 8u);
  EXPECT_EQ(marks().newest, 10u);
  const auto left = changes(1);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].id, id("e"));
  EXPECT_FALSE(left[0].entry.has_value());
}

TEST_P(Registry, DeletesWhatHangsOnADeviceButItsPresence) {
  DeviceEntry put = entry("a");
  put.credentials = {credential("c1", 'a')};
  ASSERT_TRUE(ok(store_->put_device(put, std::nullopt)));
  const std::uint64_t epoch = claim_one(request("a"));
  const std::vector<PresenceEvent> events{online("a", epoch)};
  ASSERT_TRUE(ok(store_->add_presence(events)));
  ASSERT_TRUE(ok(store_->insert_command(command("cmd", "a"))));
  ASSERT_TRUE(ok(store_->put_twin({.device = id("a"), .reported_json = "{}", .reported_version = 1})));
  const std::vector<TimelineEntry> moments{moment("a", 1)};
  ASSERT_TRUE(ok(store_->add_timeline(moments, 10)));

  EXPECT_TRUE(failed_with(store_->delete_device(id("a"), 9), Errc::conflict));
  EXPECT_TRUE(failed_with(store_->delete_device(id("b"), 9), Errc::conflict));
  EXPECT_FALSE(store_->delete_device(id("b"), std::nullopt)->has_value());
  ASSERT_TRUE(store_->delete_device(id("a"), 1)->has_value());

  EXPECT_FALSE(store_->device(id("a"))->has_value());
  EXPECT_FALSE(store_->command("cmd")->has_value());
  EXPECT_FALSE(store_->twin(id("a"))->has_value());
  EXPECT_TRUE(store_->timeline(id("a"), 0, 10)->empty());
  EXPECT_TRUE(row("a").online);
  put.credentials = {credential("c1", 'a')};  // its credentials are free again
  EXPECT_TRUE(ok(store_->put_device(put, 0)));
  EXPECT_GT(claim_one(request("a")), epoch);  // and its epochs go on
}

TEST_P(Registry, LeavesNothingOfATransactionThatWasRolledBack) {
  ASSERT_TRUE(ok(store_->put_device(entry("kept"), std::nullopt)));
  ASSERT_TRUE(ok(store_->begin()));
  ASSERT_TRUE(ok(store_->put_device(entry("a"), std::nullopt)));
  ASSERT_TRUE(store_->delete_device(id("kept"), std::nullopt)->has_value());
  const std::uint64_t lost_epoch = claim_one(request("b"));
  const std::vector<PresenceEvent> events{online("b", lost_epoch)};
  ASSERT_TRUE(ok(store_->add_presence(events)));
  ASSERT_TRUE(ok(store_->insert_command(command("cmd", "a"))));
  ASSERT_TRUE(ok(store_->put_twin({.device = id("a"), .desired_version = 1})));
  const std::vector<TimelineEntry> moments{moment("a", 1)};
  ASSERT_TRUE(ok(store_->add_timeline(moments, 10)));
  ASSERT_TRUE(ok(store_->lease({.name = "n1", .boot_id = "b1", .version = "1"}, std::chrono::seconds(5))));
  store_->rollback();

  const auto all = changes(0);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].id.str(), "kept");
  EXPECT_TRUE(store_->presence_rows("", 10)->empty());
  EXPECT_TRUE(store_->presence_log(nullptr, 0, 10)->empty());
  EXPECT_FALSE(store_->command("cmd")->has_value());
  EXPECT_FALSE(store_->twin(id("a"))->has_value());
  EXPECT_TRUE(store_->timeline(id("a"), 0, 10)->empty());
  EXPECT_TRUE(store_->nodes()->empty());
  EXPECT_EQ(store_->put_device(entry("b"), 0)->revision, 2u);  // no hole
}

TEST_P(Registry, CommitsNothingOfATransactionInWhichACallFailed) {
  ASSERT_TRUE(ok(store_->begin()));
  ASSERT_TRUE(ok(store_->put_device(entry("a"), 0)));
  EXPECT_TRUE(failed_with(store_->put_device(entry("a"), 0), Errc::conflict));
  EXPECT_FALSE(store_->put_device(entry("b"), 0));
  EXPECT_FALSE(store_->commit());
  store_->rollback();
  EXPECT_TRUE(changes(0).empty());
  ASSERT_TRUE(ok(store_->begin()));
  ASSERT_TRUE(ok(store_->put_device(entry("a"), 0)));
  ASSERT_TRUE(ok(store_->commit()));
  EXPECT_EQ(changes(0).size(), 1u);
}

TEST_P(Registry, SeesItsOwnChangesBeforeTheyAreCommitted) {
  ASSERT_TRUE(ok(store_->begin()));
  ASSERT_TRUE(ok(store_->put_device(entry("a"), 0)));
  EXPECT_EQ(changes(0).size(), 1u);
  EXPECT_TRUE((*store_->device(id("a"))).has_value());
  ASSERT_TRUE(ok(store_->commit()));
}

INSTANTIATE_TEST_SUITE_P(Store, Registry, testing::Values(EngineKind::sqlite, EngineKind::postgres),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace fieldgate::store
