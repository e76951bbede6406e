// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/fleet_index.h"

#include "gateway/core/end_reason.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace fieldgate {
namespace {

const std::string& node_lost() {
  static const std::string k_name(to_string(EndReason::node_lost));
  return k_name;
}

}  // namespace

std::size_t FleetIndex::LabelsHash::operator()(const Labels& labels) const noexcept {
  const std::hash<std::string> hash;
  std::size_t out = labels.size();
  for (const auto& [key, value] : labels) out = (out * 31 + hash(key)) * 31 + hash(value);
  return out;
}

FleetIndex::FleetIndex(std::int64_t inactive_after_ms, std::size_t devices_max)
    : inactive_after_ms_(inactive_after_ms), devices_max_(devices_max) {}

FleetIndex::Row FleetIndex::find_or_add(const DeviceId& id) {
  if (const auto at = by_id_.find(id.str()); at != by_id_.end()) return *at;
  if (rows_.size() >= devices_max_) forget_some();
  const Row row = static_cast<Row>(rows_.size());
  rows_.emplace_back();
  names_.emplace_back(id);
  order_.insert(row);
  by_id_.insert(row);
  shelve(row);
  return row;
}

// Both texts are rebuilt whenever labels or note have changed, and only then.
void FleetIndex::shelve(Row row) {
  const Labels& labels = labels_[rows_[row].labels];
  label_texts_.put(row, label_text(labels));
  std::string words = names_[row].id.str() + '\n' + notes_[rows_[row].note];
  for (const auto& [key, value] : labels) words.append(1, '\n').append(value);
  words_.put(row, lower_case(std::move(words)));
}

bool FleetIndex::apply(const DeviceSummary& change) {
  const Row row = find_or_add(change.id);
  Facts& known = rows_[row];
  if (change.epoch.value < known.epoch) return false;
  std::int64_t last_seen = change.last_seen_unix_ms;
  std::int64_t last_data = change.last_data_unix_ms;
  if (change.epoch.value == known.epoch && (known.flags & k_connected) != 0) {
    if (change.online && (known.flags & k_online) == 0) return false;
    last_seen = std::max(last_seen, known.last_seen_unix_ms);
    last_data = std::max(last_data, known.last_data_unix_ms);
  }
  const bool was_online = (known.flags & k_online) != 0;
  const bool another = change.epoch.value != known.epoch;
  const bool moved =
      change.online ? another || !was_online : was_online || (another && (known.flags & k_connected) != 0);
  known.epoch = change.epoch.value;
  known.since_unix_ms = change.since_unix_ms;
  known.last_seen_unix_ms = last_seen;
  known.last_data_unix_ms = last_data;
  known.flags = static_cast<std::uint8_t>((known.flags & ~k_online) | k_connected | (change.online ? k_online : 0));
  firmwares_.exchange(known.firmware, change.firmware);
  nodes_.exchange(known.node, change.node);
  reasons_.exchange(known.reason, change.online ? std::string() : change.reason);
  if (labels_[names_[row].reported_labels] != change.labels) {
    labels_.exchange(names_[row].reported_labels, change.labels);
    merge_labels(row);
    shelve(row);
  }
  return moved;
}

void FleetIndex::apply(const SeenUpdate& update) {
  const auto at = by_id_.find(update.id.str());
  if (at == by_id_.end()) return;
  Facts& known = rows_[*at];
  if (update.epoch.value != known.epoch) return;
  known.last_seen_unix_ms = std::max(known.last_seen_unix_ms, update.last_seen_unix_ms);
  known.last_data_unix_ms = std::max(known.last_data_unix_ms, update.last_data_unix_ms);
}

void FleetIndex::apply(const RegistryChange& change) {
  const auto at = by_id_.find(change.id.str());
  if (!change.entry && at == by_id_.end()) return;
  const Row row = change.entry ? find_or_add(change.id) : *at;
  Facts& known = rows_[row];
  Name& name = names_[row];
  if (!change.anew && change.revision < name.registry.revision) return;
  known.flags = static_cast<std::uint8_t>(known.flags & ~(k_registered | k_enabled));
  if (!change.entry) {
    // The revision stays: what was true before is not to come back.
    name.registry = RegistryFacts{};
    name.registry.revision = change.revision;
    if ((known.flags & k_connected) == 0) return remove(row);
    notes_.exchange(known.note, {});
    labels_.exchange(name.registry_labels, {});
    merge_labels(row);
    return shelve(row);
  }
  const DeviceEntry& entry = *change.entry;
  known.flags = static_cast<std::uint8_t>(known.flags | k_registered | (entry.enabled ? k_enabled : 0));
  name.registry = {entry.enabled,         entry.automatic,       static_cast<std::uint32_t>(entry.credentials.size()),
                   entry.created_unix_ms, entry.updated_unix_ms, change.revision};
  notes_.exchange(known.note, entry.note);
  labels_.exchange(name.registry_labels, entry.labels);
  merge_labels(row);
  shelve(row);
}

void FleetIndex::merge_labels(Row row) {
  const Name& name = names_[row];
  if (name.registry_labels == 0) return labels_.exchange(rows_[row].labels, labels_[name.reported_labels]);
  Labels merged = labels_[name.registry_labels];
  const auto keys_of = [](const auto& a, const auto& b) { return a.first < b.first; };
  for (const auto& label : labels_[name.reported_labels]) {
    const auto at = std::lower_bound(merged.begin(), merged.end(), label, keys_of);
    if (at == merged.end() || at->first != label.first) merged.insert(at, label);
  }
  labels_.exchange(rows_[row].labels, merged);
}

void FleetIndex::remove(Row row) {
  Facts& facts = rows_[row];
  Name& name = names_[row];
  firmwares_.drop(facts.firmware);
  nodes_.drop(facts.node);
  reasons_.drop(facts.reason);
  notes_.drop(facts.note);
  for (const std::uint32_t labels : {facts.labels, name.reported_labels, name.registry_labels}) labels_.drop(labels);
  order_.erase(row);
  by_id_.erase(row);
  const Row last = static_cast<Row>(rows_.size() - 1);
  if (row != last) {  // the last one takes its place
    order_.erase(last);
    by_id_.erase(last);
    facts = rows_[last];
    name = std::move(names_[last]);
    order_.insert(row);
    by_id_.insert(row);
  }
  rows_.pop_back();
  names_.pop_back();
  label_texts_.remove(row);
  words_.remove(row);
}

// Frees a sixteenth of the room at once, so that the cost is spread over many
// newcomers. Devices that are online go only if nothing else is left.
void FleetIndex::forget_some() {
  std::vector<Row> rows(rows_.size());
  std::iota(rows.begin(), rows.end(), Row{0});
  const auto go = rows.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(devices_max_ / 16, 1));
  std::nth_element(rows.begin(), go, rows.end(), [this](Row a, Row b) {
    const auto rank = [this](Row row) {
      const Facts& facts = rows_[row];
      return std::tuple((facts.flags & k_online) != 0, (facts.flags & k_registered) != 0, facts.since_unix_ms);
    };
    return rank(a) < rank(b);
  });
  // From the highest number down: what takes a removed one's place is none that is to go.
  std::sort(rows.begin(), go, std::greater<>());
  std::for_each(rows.begin(), go, [this](Row row) { remove(row); });
}

FleetDevice FleetIndex::device(Row row, std::int64_t now_unix_ms) const {
  const Facts& facts = rows_[row];
  const Name& name = names_[row];
  const bool registered = (facts.flags & k_registered) != 0;
  return {name.id,
          online(facts),
          inactive(facts, now_unix_ms, inactive_after_ms_),
          Epoch{facts.epoch},
          facts.since_unix_ms,
          facts.last_seen_unix_ms,
          facts.last_data_unix_ms,
          firmwares_[facts.firmware],
          nodes_[facts.node],
          adrift(facts) ? node_lost() : reasons_[facts.reason],
          notes_[facts.note],
          labels_[facts.labels],
          labels_[name.registry_labels],
          registered ? &name.registry : nullptr};
}

std::optional<FleetDevice> FleetIndex::find(std::string_view id, std::int64_t now_unix_ms) const {
  const auto at = by_id_.find(id);
  if (at == by_id_.end()) return std::nullopt;
  return device(*at, now_unix_ms);
}

bool FleetIndex::inactive(const Facts& facts, std::int64_t now_unix_ms, std::int64_t after_ms) const {
  return online(facts) && now_unix_ms - std::max(facts.last_data_unix_ms, facts.since_unix_ms) >= after_ms;
}

bool FleetIndex::adrift(const Facts& facts) const {
  return (facts.flags & k_online) != 0 && !away_.empty() && std::ranges::find(away_, nodes_[facts.node]) != away_.end();
}

std::map<std::string, std::size_t> FleetIndex::online_by_node() const {
  std::vector<std::size_t> counts(nodes_.numbers_end());
  for (const Facts& facts : rows_) counts[facts.node] += online(facts) ? 1 : 0;
  std::map<std::string, std::size_t> out;
  for (std::uint32_t node = 0; node < counts.size(); ++node) {
    if (counts[node] > 0) out.emplace(nodes_[node], counts[node]);
  }
  return out;
}

FleetCounts FleetIndex::counts(std::int64_t now_unix_ms) const {
  FleetCounts out;
  out.known = rows_.size();
  for (const Facts& facts : rows_) {
    out.registered += (facts.flags & k_registered) != 0 ? 1 : 0;
    out.online += online(facts) ? 1 : 0;
    out.inactive += inactive(facts, now_unix_ms, inactive_after_ms_) ? 1 : 0;
  }
  return out;
}

}  // namespace fieldgate
