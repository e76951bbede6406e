// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/fleet_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate {
namespace {

using Ids = std::vector<std::string>;

constexpr std::int64_t k_now = 1'700'000'000'000;
constexpr std::int64_t k_inactive_after = 15;

// What the index says, against a look at each device by other means, while devices come,
// change, are registered and are taken out of the registry again.
class FleetModel {
 public:
  void step(std::mt19937& random, FleetIndex& index) {
    const auto pick = [&random](unsigned n) { return static_cast<std::size_t>(random() % n); };
    const std::string id = "d" + std::to_string(pick(60));
    if (pick(4) == 0) {
      ++revision_;
      DeviceEntry one{*DeviceId::parse(id), true, {{"owner", "team" + std::to_string(pick(3))}}, {}};
      if (pick(2) == 0) one.note = "Spare";
      one.enabled = pick(3) != 0;
      const bool gone = pick(3) == 0;
      index.apply(RegistryChange{one.id, revision_, gone ? std::nullopt : std::optional(one)});
      if (gone) {
        entries_.erase(id);
      } else {
        entries_.insert_or_assign(id, one);
      }
      return;
    }
    const auto known = devices_.find(id);
    if (known != devices_.end() && pick(3) == 0) return hear(known->second, random, index);
    DeviceSummary d{*DeviceId::parse(id)};
    d.epoch = {++epoch_};
    d.online = pick(2) == 0;
    d.firmware = "f" + std::to_string(pick(4));
    d.node = "node" + std::to_string(pick(3));
    d.last_seen_unix_ms = pick(8) == 0 ? 0 : k_now - static_cast<std::int64_t>(pick(30));
    d.last_data_unix_ms = pick(4) == 0 ? 0 : k_now - static_cast<std::int64_t>(pick(30));
    d.since_unix_ms = k_now - static_cast<std::int64_t>(pick(30));
    if (pick(2) == 0) d.labels = {{"site", std::to_string(pick(3))}};
    if (!d.online) d.reason = pick(2) == 0 ? "bye" : "drain";
    index.apply(d);
    devices_.insert_or_assign(id, d);
  }

  Ids find(const FleetQuery& query) const {
    std::vector<std::pair<Key, std::string>> found;
    std::set<std::string> ids;
    for (const auto& [id, d] : devices_) ids.insert(id);
    for (const auto& [id, e] : entries_) ids.insert(id);
    for (const std::string& id : ids) {
      const auto d = devices_.find(id);
      const auto e = entries_.find(id);
      const DeviceSummary* seen = d == devices_.end() ? nullptr : &d->second;
      const DeviceEntry* listed = e == entries_.end() ? nullptr : &e->second;
      if (!id.starts_with(query.id_prefix) || !matches(query, seen) || !matches(query, seen, listed)) continue;
      found.emplace_back(seen == nullptr ? Key() : key_of(*seen, query.sort), id);
    }
    std::sort(found.begin(), found.end());
    if (query.descending) std::reverse(found.begin(), found.end());
    Ids out;
    for (const auto& [key, id] : found) out.push_back(id);
    return out;
  }

 private:
  using Key = std::pair<std::int64_t, std::string>;  // time, text
  static Key key_of(const DeviceSummary& d, FleetSort sort) {
    switch (sort) {
      case FleetSort::last_seen: return {d.last_seen_unix_ms, {}};
      case FleetSort::last_data: return {d.last_data_unix_ms, {}};
      case FleetSort::since: return {d.since_unix_ms, {}};
      case FleetSort::firmware: return {0, d.firmware};
      case FleetSort::id: break;
    }
    return {};
  }

  // Bytes, or data too, on the connection that it has or had; of one before, now and then.
  static void hear(DeviceSummary& d, std::mt19937& random, FleetIndex& index) {
    const auto time = [&random] { return k_now - static_cast<std::int64_t>(random() % 30); };
    SeenUpdate update{d.id, {random() % 5 == 0 ? d.epoch.value - 1 : d.epoch.value}, time(), 0};
    if (random() % 2 == 0) update.last_data_unix_ms = time();
    index.apply(update);
    if (update.epoch.value != d.epoch.value) return;
    d.last_seen_unix_ms = std::max(d.last_seen_unix_ms, update.last_seen_unix_ms);
    d.last_data_unix_ms = std::max(d.last_data_unix_ms, update.last_data_unix_ms);
  }

  // What concerns its connections; nullptr: it has had none.
  static bool matches(const FleetQuery& query, const DeviceSummary* d) {
    const bool online = d != nullptr && d->online;
    const std::int64_t seen = d == nullptr ? 0 : d->last_seen_unix_ms;
    const std::int64_t silent = online ? k_now - std::max(d->last_data_unix_ms, d->since_unix_ms) : 0;
    return (!query.online || online == *query.online) &&
           (!query.firmware || (d != nullptr && d->firmware == *query.firmware)) &&
           (!query.node || (d != nullptr && d->node == *query.node)) &&
           (!query.reason || (d != nullptr && !online && d->reason == *query.reason)) &&
           (!query.inactive || (online && silent >= k_inactive_after) == *query.inactive) &&
           (!query.inactive_for_ms || (online && silent >= *query.inactive_for_ms)) &&
           (!query.last_seen_after || (seen != 0 && seen >= *query.last_seen_after)) &&
           (!query.last_seen_before || (seen != 0 && seen < *query.last_seen_before));
  }

  // What concerns its entry in the registry; nullptr: it has none.
  static bool matches(const FleetQuery& query, const DeviceSummary* d, const DeviceEntry* e) {
    std::map<std::string, std::string> labels;
    if (e != nullptr) labels.insert(e->labels.begin(), e->labels.end());
    if (d != nullptr) labels.insert(d->labels.begin(), d->labels.end());
    return (!query.registered || (e != nullptr) == *query.registered) &&
           (!query.enabled || (e != nullptr && e->enabled == *query.enabled)) &&
           (query.text.empty() || (e != nullptr && e->note == "Spare")) &&
           (query.labels.empty() || labels["site"] == query.labels[0].value);
  }

  std::map<std::string, DeviceSummary> devices_;
  std::map<std::string, DeviceEntry> entries_;
  std::uint64_t epoch_ = 0;
  std::uint64_t revision_ = 0;
};

FleetQuery any_query(std::mt19937& random) {
  FleetQuery query;
  const auto maybe = [&random] { return random() % 6 == 0; };
  const auto ago = [&random](unsigned n) { return k_now - static_cast<std::int64_t>(random() % n); };
  if (maybe()) query.online = random() % 2 == 0;
  if (maybe()) query.registered = random() % 2 == 0;
  if (maybe()) query.enabled = random() % 2 == 0;
  if (maybe()) query.firmware = "f" + std::to_string(random() % 5);
  if (maybe()) query.node = "node" + std::to_string(random() % 4);
  if (maybe()) query.reason = random() % 2 == 0 ? "bye" : "drain";
  if (maybe()) query.inactive = random() % 2 == 0;
  if (maybe()) query.inactive_for_ms = static_cast<std::int64_t>(random() % 30);
  if (maybe()) query.last_seen_after = ago(35);
  if (maybe()) query.last_seen_before = ago(35);
  if (maybe()) query.id_prefix = "d" + std::to_string(random() % 7);
  if (maybe()) query.text = "spaRE";
  if (maybe()) query.labels = {{"site", LabelCondition::Is::equal, std::to_string(random() % 3)}};
  query.sort = std::array{FleetSort::id, FleetSort::last_seen, FleetSort::last_data, FleetSort::since,
                          FleetSort::firmware}[random() % 5];
  query.descending = random() % 2 == 0;
  query.limit = 1 + random() % 9;
  query.count = true;
  return query;
}

// Follows a query page by page.
Ids walk(const FleetIndex& index, FleetQuery query) {
  Ids all;
  for (int pages = 0; pages < 1'000; ++pages) {
    const FleetPage page = index.query(query, k_now);
    EXPECT_LE(page.devices.size(), query.limit);
    for (const FleetDevice& d : page.devices) all.push_back(d.id.str());
    if (!page.next) return all;
    query.after = page.next;
  }
  ADD_FAILURE() << "the pages do not end";
  return all;
}

TEST(FleetIndexModel, AgreesWithALookAtEachDeviceWhateverHappens) {
  FleetIndex index(k_inactive_after);
  std::mt19937 random(11);
  FleetModel model;
  for (int round = 0; round < 600; ++round) {
    for (int i = 0; i < 20; ++i) model.step(random, index);
    const FleetQuery query = any_query(random);
    const Ids expected = model.find(query);
    ASSERT_EQ(walk(index, query), expected) << round << ' ' << static_cast<int>(query.sort);
    ASSERT_EQ(index.query(query, k_now).count, expected.size()) << round;
  }
}

}  // namespace
}  // namespace fieldgate
