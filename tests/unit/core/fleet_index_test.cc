// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/fleet_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace fieldgate {
namespace {

constexpr std::int64_t k_now = 1'700'000'000'000;
constexpr std::int64_t k_inactive_after = 300'000;

DeviceSummary device(std::string_view id, std::uint64_t epoch = 1, bool online = true) {
  DeviceSummary d{*DeviceId::parse(id)};
  d.online = online;
  d.epoch = {epoch};
  d.since_unix_ms = k_now - 1'000;
  d.last_seen_unix_ms = k_now;
  d.last_data_unix_ms = k_now;
  return d;
}

std::vector<std::string> ids(const FleetPage& page) {
  std::vector<std::string> out;
  for (const FleetDevice& d : page.devices) out.push_back(d.id.str());
  return out;
}

using Ids = std::vector<std::string>;

class FleetIndexTest : public testing::Test {
 protected:
  Ids list(const FleetQuery& query) { return ids(index.query(query, k_now)); }

  FleetIndex index{k_inactive_after};
};

TEST_F(FleetIndexTest, DropsWhatCarriesAnOlderEpoch) {
  index.apply(device("a", 5, true));
  index.apply(device("a", 4, false));  // the late end of the connection before
  EXPECT_TRUE(index.find("a", k_now)->online);
  index.apply(SeenUpdate{*DeviceId::parse("a"), {4}, k_now + 9'000, k_now + 9'000});
  EXPECT_EQ(index.find("a", k_now)->last_seen_unix_ms, k_now);
}

TEST_F(FleetIndexTest, TakesTheNewerEpochWhateverItSays) {
  index.apply(device("a", 5, true));
  index.apply(device("a", 6, false));
  EXPECT_FALSE(index.find("a", k_now)->online);
  EXPECT_EQ(index.find("a", k_now)->epoch.value, 6U);
}

TEST_F(FleetIndexTest, KeepsADeviceOfflineOnceItsEpochHasEnded) {
  index.apply(device("a", 5, false));
  index.apply(device("a", 5, true));
  EXPECT_FALSE(index.find("a", k_now)->online);
}

TEST_F(FleetIndexTest, MovesTimeStampsForwardOnly) {
  index.apply(device("a", 5));
  index.apply(SeenUpdate{*DeviceId::parse("a"), {5}, k_now + 10, k_now + 5});
  index.apply(SeenUpdate{*DeviceId::parse("a"), {5}, k_now + 8, k_now + 3});
  EXPECT_EQ(index.find("a", k_now)->last_seen_unix_ms, k_now + 10);
  EXPECT_EQ(index.find("a", k_now)->last_data_unix_ms, k_now + 5);
}

TEST_F(FleetIndexTest, DropsTimeStampsOfAnUnknownDevice) {
  index.apply(SeenUpdate{*DeviceId::parse("ghost"), {5}, k_now, k_now});
  EXPECT_FALSE(index.find("ghost", k_now).has_value());
  EXPECT_EQ(index.size(), 0U);
}

TEST_F(FleetIndexTest, CallsADeviceInactiveThatIsOnlineAndSilent) {
  DeviceSummary silent = device("silent");
  silent.since_unix_ms = silent.last_data_unix_ms = k_now - k_inactive_after;
  DeviceSummary fresh = device("fresh");
  fresh.since_unix_ms = k_now - 1'000;
  fresh.last_data_unix_ms = 0;  // none yet, but it has only just come
  DeviceSummary gone = device("gone", 1, false);
  gone.last_data_unix_ms = 0;
  gone.since_unix_ms = 0;
  for (const auto& d : {silent, fresh, gone}) index.apply(d);
  FleetQuery query;
  query.inactive = true;
  EXPECT_EQ(list(query), Ids{"silent"});
  query.inactive = false;
  EXPECT_EQ(list(query), (Ids{"fresh", "gone"}));
}

TEST_F(FleetIndexTest, FiltersByEveryConditionAtOnce) {
  DeviceSummary a = device("plant-1");
  a.labels = {{"line", "3"}, {"site", "berlin"}};
  a.firmware = "2.1";
  DeviceSummary b = device("plant-2");
  b.labels = {{"line", "4"}, {"site", "berlin"}};
  b.firmware = "2.1";
  DeviceSummary c = device("plant-3", 1, false);
  c.labels = a.labels;
  c.firmware = "2.0";
  DeviceSummary d = device("yard-1");
  for (const auto& one : {a, b, c, d}) index.apply(one);

  FleetQuery query;
  query.labels = {{"site", LabelCondition::Is::equal, "berlin"}};
  EXPECT_EQ(list(query), (Ids{"plant-1", "plant-2", "plant-3"}));
  query.labels.push_back({"line", LabelCondition::Is::equal, "3"});
  EXPECT_EQ(list(query), (Ids{"plant-1", "plant-3"}));
  query.online = true;
  EXPECT_EQ(list(query), Ids{"plant-1"});

  FleetQuery has_line;
  has_line.labels = {{"line"}};
  EXPECT_EQ(list(has_line), (Ids{"plant-1", "plant-2", "plant-3"}));

  FleetQuery firmware;
  firmware.firmware = "2.1";
  EXPECT_EQ(list(firmware), (Ids{"plant-1", "plant-2"}));

  FleetQuery prefix;
  prefix.id_prefix = "plant-";
  prefix.descending = true;
  EXPECT_EQ(list(prefix), (Ids{"plant-3", "plant-2", "plant-1"}));
}

TEST_F(FleetIndexTest, CountsAllThatMatchNotThePageAlone) {
  for (int i = 0; i < 30; ++i) index.apply(device("d" + std::to_string(i), 1, i % 3 != 0));
  FleetQuery query;
  query.online = true;
  query.limit = 7;
  query.count = true;
  for (const FleetSort sort : {FleetSort::id, FleetSort::last_seen}) {
    query.sort = sort;
    const FleetPage page = index.query(query, k_now);
    EXPECT_EQ(page.count, 20U);
    EXPECT_EQ(page.devices.size(), 7U);
    EXPECT_TRUE(page.next.has_value());
  }
}

// Follows a query page by page.
Ids walk(const FleetIndex& index, FleetQuery query) {
  Ids all;
  for (int pages = 0; pages < 1'000; ++pages) {
    const FleetPage page = index.query(query, k_now);
    EXPECT_LE(page.devices.size(), query.limit);
    for (auto& id : ids(page)) all.push_back(id);
    if (!page.next) return all;
    query.after = page.next;
  }
  ADD_FAILURE() << "the pages do not end";
  return all;
}

// What that order goes by; 0 where it is none by time.
std::int64_t time_of(const DeviceSummary& d, FleetSort sort) {
  switch (sort) {
    case FleetSort::last_seen: return d.last_seen_unix_ms;
    case FleetSort::last_data: return d.last_data_unix_ms;
    case FleetSort::since: return d.since_unix_ms;
    case FleetSort::id:
    case FleetSort::firmware: break;
  }
  return 0;
}

TEST_F(FleetIndexTest, PagesGiveEveryDeviceOnceInOrder) {
  std::mt19937 random(7);
  std::vector<DeviceSummary> all;
  for (int i = 0; i < 200; ++i) {
    DeviceSummary d = device("d" + std::to_string(random() % 100'000) + "-" + std::to_string(i));
    d.last_seen_unix_ms = k_now - static_cast<std::int64_t>(random() % 20);  // many are equal
    d.since_unix_ms = k_now - static_cast<std::int64_t>(random() % 50);
    d.last_data_unix_ms = random() % 10 == 0 ? 0 : k_now - static_cast<std::int64_t>(random() % 20);
    all.push_back(d);
    index.apply(d);
  }
  for (const FleetSort sort : {FleetSort::id, FleetSort::last_seen, FleetSort::last_data, FleetSort::since}) {
    std::sort(all.begin(), all.end(), [&](const DeviceSummary& a, const DeviceSummary& b) {
      return time_of(a, sort) != time_of(b, sort) ? time_of(a, sort) < time_of(b, sort) : a.id < b.id;
    });
    Ids expected;
    for (const auto& d : all) expected.push_back(d.id.str());
    for (const std::size_t limit : {std::size_t{1}, std::size_t{7}, std::size_t{200}, std::size_t{500}}) {
      FleetQuery query;
      query.sort = sort;
      query.limit = limit;
      EXPECT_EQ(walk(index, query), expected);
      query.descending = true;
      EXPECT_EQ(walk(index, query), Ids(expected.rbegin(), expected.rend()));
    }
  }
}

TEST_F(FleetIndexTest, PagesStayWithinAPrefix) {
  for (const char* id : {"a", "b1", "b2", "b3", "b~", "c"}) {
    if (DeviceId::parse(id)) index.apply(device(id));
  }
  FleetQuery query;
  query.id_prefix = "b";
  query.limit = 1;
  EXPECT_EQ(walk(index, query), (Ids{"b1", "b2", "b3"}));
  query.descending = true;
  EXPECT_EQ(walk(index, query), (Ids{"b3", "b2", "b1"}));
}

TEST_F(FleetIndexTest, ALastFullPageHasNoNext) {
  for (int i = 0; i < 4; ++i) index.apply(device("d" + std::to_string(i)));
  FleetQuery query;
  query.limit = 4;
  EXPECT_FALSE(index.query(query, k_now).next.has_value());
  query.limit = 3;
  EXPECT_TRUE(index.query(query, k_now).next.has_value());
}

TEST_F(FleetIndexTest, GoesOnAfterADeviceThatHasMoved) {
  for (const char* id : {"a", "b", "c", "d"}) index.apply(device(id));
  FleetQuery query;
  query.limit = 2;
  query.after = index.query(query, k_now).next;
  ASSERT_TRUE(query.after.has_value());
  index.apply(device("a", 2, false));
  index.apply(device("bb"));
  EXPECT_EQ(list(query), (Ids{"bb", "c"}));
}

DeviceEntry entry(std::string_view id, Labels labels = {}, std::string note = {}) {
  return {*DeviceId::parse(id), true, std::move(labels), std::move(note)};
}

RegistryChange registered(const DeviceEntry& one, std::uint64_t revision) { return {one.id, revision, one}; }

TEST_F(FleetIndexTest, ListsWhatIsRegisteredThoughItNeverCame) {
  index.apply(registered(entry("shelf", {{"site", "berlin"}}, "spare"), 3));
  const auto found = index.find("shelf", k_now);
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->online);
  EXPECT_EQ(found->epoch.value, 0U);
  EXPECT_EQ(found->note, "spare");
  ASSERT_NE(found->registry, nullptr);
  EXPECT_EQ(found->registry->revision, 3U);
  index.apply(RegistryChange{*DeviceId::parse("shelf"), 4, std::nullopt});
  EXPECT_FALSE(index.find("shelf", k_now).has_value());
}

TEST_F(FleetIndexTest, OverlaysWhatTheDeviceSaysWithTheRegistrysLabels) {
  DeviceSummary d = device("a");
  d.labels = {{"line", "3"}, {"site", "here"}};
  index.apply(d);
  index.apply(registered(entry("a", {{"owner", "me"}, {"site", "berlin"}}), 1));
  EXPECT_EQ(index.find("a", k_now)->labels, (Labels{{"line", "3"}, {"owner", "me"}, {"site", "berlin"}}));
  d.epoch = {2};
  d.labels = {{"line", "4"}};
  index.apply(d);
  EXPECT_EQ(index.find("a", k_now)->labels, (Labels{{"line", "4"}, {"owner", "me"}, {"site", "berlin"}}));
  index.apply(RegistryChange{*DeviceId::parse("a"), 2, std::nullopt});
  EXPECT_EQ(index.find("a", k_now)->labels, (Labels{{"line", "4"}}));
  EXPECT_EQ(index.find("a", k_now)->registry, nullptr);
}

TEST_F(FleetIndexTest, DropsARevisionOlderThanItKnows) {
  index.apply(device("a"));
  index.apply(registered(entry("a", {}, "new"), 7));
  index.apply(registered(entry("a", {}, "old"), 6));
  EXPECT_EQ(index.find("a", k_now)->note, "new");
  index.apply(RegistryChange{*DeviceId::parse("a"), 8, std::nullopt});
  index.apply(registered(entry("a", {}, "old"), 7));
  EXPECT_EQ(index.find("a", k_now)->registry, nullptr);
}

TEST_F(FleetIndexTest, TakesLabelConditionsByTheLetter) {
  using Is = LabelCondition::Is;
  DeviceSummary a = device("a");
  a.labels = {{"k", "v"}, {"kk", "x"}};
  DeviceSummary b = device("b");
  b.labels = {{"k", "vv"}, {"x", "k"}};
  DeviceSummary c = device("c");
  c.labels = {{"K", "v"}};
  DeviceSummary d = device("d");
  d.labels = {{"k", ""}};
  for (const auto& one : {a, b, c, d}) index.apply(one);
  const auto with = [this](LabelCondition condition) {
    FleetQuery query;
    query.labels = {std::move(condition)};
    return list(query);
  };
  EXPECT_EQ(with({"k"}), (Ids{"a", "b", "d"}));
  EXPECT_EQ(with({"k", Is::absent}), Ids{"c"});
  EXPECT_EQ(with({"k", Is::equal, "v"}), Ids{"a"});
  EXPECT_EQ(with({"k", Is::equal, ""}), Ids{"d"});
  EXPECT_EQ(with({"k", Is::different, "v"}), (Ids{"b", "c", "d"}));
  EXPECT_EQ(with({"v", Is::present}), Ids{});
}

TEST_F(FleetIndexTest, FindsATextInIdNoteAndLabelValuesWhateverItsCase) {
  index.apply(device("Pump-7"));
  index.apply(registered(entry("b", {}, "behind the PUMP"), 1));
  index.apply(registered(entry("c", {{"kind", "pump"}}), 2));
  index.apply(registered(entry("d", {{"pump", "x"}}), 3));
  FleetQuery query;
  query.text = "pUMP";
  EXPECT_EQ(list(query), (Ids{"Pump-7", "b", "c"}));
  index.apply(registered(entry("b", {}, "elsewhere"), 4));
  EXPECT_EQ(list(query), (Ids{"Pump-7", "c"}));
}

TEST_F(FleetIndexTest, SaysHowItFoundAPage) {
  for (int i = 0; i < 6'000; ++i) {
    DeviceSummary d = device("d" + std::to_string(10'000 + i));
    d.firmware = i == 5'999 ? "rare" : "common";
    index.apply(d);
  }
  FleetQuery query;
  query.limit = 10;
  EXPECT_EQ(index.query(query, k_now).plan.path, "id");
  EXPECT_EQ(index.query(query, k_now).plan.walked, 11U);
  query.firmware = "rare";
  const FleetPage rare = index.query(query, k_now);
  EXPECT_EQ(rare.plan.path, "id, then scan");
  EXPECT_EQ(rare.plan.walked, FleetIndex::k_walk_max);
  EXPECT_EQ(rare.plan.scanned, 6'000U);
  EXPECT_EQ(rare.plan.matched, 1U);
  EXPECT_EQ(rare.devices.size(), 1U);
  query.firmware = "never seen";
  EXPECT_EQ(index.query(query, k_now).plan.path, "none");
  query.firmware.reset();
  query.sort = FleetSort::since;
  EXPECT_EQ(index.query(query, k_now).plan.path, "scan");
}

TEST(FleetQueryFingerprint, DiffersWithEveryConditionAndTheOrder) {
  std::vector<FleetQuery> queries(20);
  queries[1].online = true;
  queries[2].online = false;
  queries[3].inactive = true;
  queries[4].labels = {{"a"}};
  queries[5].labels = {{"a", LabelCondition::Is::equal, ""}};
  queries[6].labels = {{"a"}, {"b"}};
  queries[7].firmware = "a";
  queries[8].id_prefix = "a";
  queries[9].sort = FleetSort::since;
  queries[10].descending = true;
  queries[11].node = "a";
  queries[12].reason = "a";
  queries[13].text = "a";
  queries[14].registered = true;
  queries[15].enabled = true;
  queries[16].last_seen_after = 1;
  queries[17].last_seen_before = 1;
  queries[18].inactive_for_ms = 1;
  queries[19].labels = {{"a", LabelCondition::Is::absent}};
  std::vector<std::uint64_t> prints;
  for (const auto& query : queries) prints.push_back(query.fingerprint());
  std::sort(prints.begin(), prints.end());
  EXPECT_EQ(std::adjacent_find(prints.begin(), prints.end()), prints.end());
}

TEST(FleetQueryFingerprint, IsTheSameOnEveryPage) {
  FleetQuery first;
  FleetQuery later;
  later.limit = 7;
  later.count = true;
  later.after = CursorPosition{0, "x"};
  EXPECT_EQ(first.fingerprint(), later.fingerprint());
}

TEST(FleetIndexBounds, ForgetsThoseThatHaveBeenOfflineLongest) {
  FleetIndex index(k_inactive_after, 32);
  for (int i = 0; i < 16; ++i) index.apply(device("on" + std::to_string(i)));
  for (int i = 0; i < 16; ++i) {
    DeviceSummary d = device("off" + std::to_string(i), 1, false);
    d.since_unix_ms = k_now - 100 + i;
    index.apply(d);
  }
  index.apply(device("new"));
  EXPECT_LE(index.size(), 32U);
  EXPECT_FALSE(index.find("off0", k_now).has_value());
  EXPECT_TRUE(index.find("off15", k_now).has_value());
  EXPECT_TRUE(index.find("new", k_now).has_value());
  for (int i = 0; i < 16; ++i) {
    const auto kept = index.find("on" + std::to_string(i), k_now);
    ASSERT_TRUE(kept.has_value());
    EXPECT_EQ(kept->id.str(), "on" + std::to_string(i));  // the order still points to the right places
  }
}

}  // namespace
}  // namespace fieldgate
