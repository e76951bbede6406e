// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/fleet_index.h"

#include <algorithm>
#include <tuple>

namespace fieldgate {
namespace {

// Length first, so that no two lists of parts give the same text.
void add(std::string& text, std::string_view part) {
  text += std::to_string(part.size());
  text += ':';
  text += part;
}

void add(std::string& text, const std::optional<bool>& flag) { text += !flag ? '-' : *flag ? '1' : '0'; }

bool has_label(const Labels& labels, const FleetQuery::LabelIs& wanted) {
  const auto at = std::lower_bound(labels.begin(), labels.end(), wanted.key,
                                   [](const auto& label, const std::string& key) { return label.first < key; });
  return at != labels.end() && at->first == wanted.key && (!wanted.value || at->second == *wanted.value);
}

std::int64_t sort_key(const DeviceSummary& device, FleetSort sort) {
  return sort == FleetSort::last_seen ? device.last_seen_unix_ms : device.since_unix_ms;
}

// Keeps at most `limit` of the page's devices and says where the next page starts.
void cut(FleetPage& page, const FleetQuery& query) {
  if (page.devices.size() <= query.limit) return;
  page.devices.resize(query.limit);
  const DeviceSummary& last = *page.devices.back();
  page.next = CursorPosition{query.sort == FleetSort::id ? 0 : sort_key(last, query.sort), last.id.str()};
}

}  // namespace

std::uint64_t FleetQuery::fingerprint() const {
  std::string text;
  add(text, online);
  add(text, inactive);
  text += static_cast<char>('0' + static_cast<int>(sort));
  text += descending ? 'd' : 'a';
  add(text, id_prefix);
  text += firmware ? '1' : '0';
  if (firmware) add(text, *firmware);
  for (const LabelIs& label : labels) {
    add(text, label.key);
    text += label.value ? '1' : '0';
    if (label.value) add(text, *label.value);
  }
  return stable_hash(text);
}

void FleetIndex::apply(DeviceSummary change) {
  const auto at = by_id_.find(change.id.str());
  if (at == by_id_.end()) {
    if (devices_.size() >= devices_max_) forget_some();
    by_id_.emplace(change.id.str(), devices_.size());
    devices_.push_back(std::move(change));
    return;
  }
  DeviceSummary& known = devices_[at->second];
  if (change.epoch < known.epoch) return;
  if (change.epoch == known.epoch) {
    if (change.online && !known.online) return;
    change.last_seen_unix_ms = std::max(change.last_seen_unix_ms, known.last_seen_unix_ms);
    change.last_data_unix_ms = std::max(change.last_data_unix_ms, known.last_data_unix_ms);
  }
  known = std::move(change);
}

void FleetIndex::apply(const SeenUpdate& update) {
  const auto at = by_id_.find(update.id.str());
  if (at == by_id_.end()) return;
  DeviceSummary& known = devices_[at->second];
  if (update.epoch != known.epoch) return;
  known.last_seen_unix_ms = std::max(known.last_seen_unix_ms, update.last_seen_unix_ms);
  known.last_data_unix_ms = std::max(known.last_data_unix_ms, update.last_data_unix_ms);
}

// Frees a sixteenth of the room at once, so that the cost is spread over many
// newcomers. Devices that are online go only if nothing else is left.
void FleetIndex::forget_some() {
  const std::size_t keep = devices_max_ - std::max<std::size_t>(devices_max_ / 16, 1);
  const auto newer = [](const DeviceSummary& a, const DeviceSummary& b) {
    return std::tie(a.online, a.since_unix_ms) > std::tie(b.online, b.since_unix_ms);
  };
  std::nth_element(devices_.begin(), devices_.begin() + static_cast<std::ptrdiff_t>(keep), devices_.end(), newer);
  devices_.erase(devices_.begin() + static_cast<std::ptrdiff_t>(keep), devices_.end());
  by_id_.clear();
  for (std::size_t i = 0; i < devices_.size(); ++i) by_id_.emplace(devices_[i].id.str(), i);
}

const DeviceSummary* FleetIndex::find(std::string_view id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &devices_[at->second];
}

bool FleetIndex::inactive(const DeviceSummary& device, std::int64_t now_unix_ms) const {
  return device.online && now_unix_ms - std::max(device.last_data_unix_ms, device.since_unix_ms) >= inactive_after_ms_;
}

bool FleetIndex::matches(const DeviceSummary& device, const FleetQuery& query, std::int64_t now_unix_ms) const {
  if (query.online && device.online != *query.online) return false;
  if (query.inactive && inactive(device, now_unix_ms) != *query.inactive) return false;
  if (query.firmware && device.firmware != *query.firmware) return false;
  if (!query.id_prefix.empty() && !device.id.str().starts_with(query.id_prefix)) return false;
  return std::all_of(query.labels.begin(), query.labels.end(),
                     [&](const FleetQuery::LabelIs& label) { return has_label(device.labels, label); });
}

FleetPage FleetIndex::query(const FleetQuery& query, std::int64_t now_unix_ms) const {
  FleetPage page = query.sort == FleetSort::id ? by_id(query, now_unix_ms) : by_time(query, now_unix_ms);
  cut(page, query);
  return page;
}

FleetPage FleetIndex::by_id(const FleetQuery& query, std::int64_t now_unix_ms) const {
  auto first = by_id_.lower_bound(query.id_prefix);
  auto last = by_id_.end();
  if (!query.id_prefix.empty() && static_cast<unsigned char>(query.id_prefix.back()) < 0xff) {
    std::string beyond = query.id_prefix;
    ++beyond.back();
    last = by_id_.lower_bound(beyond);
  }

  FleetPage page;
  // Collects from `from` to `to`, in the order of the iterators, one more than the page holds.
  const auto collect = [&](auto from, auto to) {
    for (; from != to && page.devices.size() <= query.limit; ++from) {
      const DeviceSummary& device = devices_[from->second];
      if (matches(device, query, now_unix_ms)) page.devices.push_back(&device);
    }
  };
  if (query.count) {
    page.count = static_cast<std::size_t>(std::count_if(
        first, last, [&](const auto& entry) { return matches(devices_[entry.second], query, now_unix_ms); }));
  }
  if (!query.after) {
    query.descending ? collect(std::reverse_iterator(last), std::reverse_iterator(first)) : collect(first, last);
  } else if (query.after->id >= query.id_prefix && query.after->id.starts_with(query.id_prefix)) {
    query.descending ? collect(std::reverse_iterator(by_id_.lower_bound(query.after->id)), std::reverse_iterator(first))
                     : collect(by_id_.upper_bound(query.after->id), last);
  }
  return page;
}

FleetPage FleetIndex::by_time(const FleetQuery& query, std::int64_t now_unix_ms) const {
  using Ranked = std::pair<std::int64_t, const DeviceSummary*>;
  const auto before = [&](const Ranked& a, const Ranked& b) {
    if (a.first != b.first) return query.descending ? a.first > b.first : a.first < b.first;
    return query.descending ? b.second->id < a.second->id : a.second->id < b.second->id;
  };
  const auto is_beyond = [&](const Ranked& entry) {
    if (!query.after) return true;
    const int order = entry.first != query.after->key ? (entry.first < query.after->key ? -1 : 1)
                                                      : entry.second->id.str().compare(query.after->id);
    return query.descending ? order < 0 : order > 0;
  };

  FleetPage page;
  std::vector<Ranked> found;
  std::size_t count = 0;
  for (const DeviceSummary& device : devices_) {
    if (!matches(device, query, now_unix_ms)) continue;
    ++count;
    const Ranked entry{sort_key(device, query.sort), &device};
    if (is_beyond(entry)) found.push_back(entry);
  }
  if (query.count) page.count = count;
  const std::size_t wanted = std::min(found.size(), query.limit + 1);
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(wanted), found.end(), before);
  for (std::size_t i = 0; i < wanted; ++i) page.devices.push_back(found[i].second);
  return page;
}

}  // namespace fieldgate
