// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/fleet_inbox.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace fieldgate::http {
namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T> from) {
  if (to.empty()) {
    to = std::move(from);
  } else {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  }
}

const DeviceId& device_of(const DeviceSummary& summary) { return summary.id; }
const DeviceId& device_of(const RegistryChange& change) { return change.id; }
const DeviceId& device_of(const PresenceRow& row) { return row.device; }

// Leaves the last of each device, once there are more than `mark`; which then rises
// with what is left, so that this stays cheap for a fleet that is larger.
template <class T>
void reduce(std::vector<T>& all, std::size_t max, std::size_t& mark) {
  if (all.size() <= std::max(max, mark)) return;
  std::vector<T> last;
  std::unordered_set<DeviceId> known;
  for (auto at = all.rbegin(); at != all.rend(); ++at) {
    if (known.insert(device_of(*at)).second) last.push_back(std::move(*at));
  }
  std::reverse(last.begin(), last.end());
  all = std::move(last);
  mark = 2 * all.size();
}

}  // namespace

bool FleetInbox::announce() { return !std::exchange(announced_, true); }

bool FleetInbox::put(std::vector<DeviceSummary> changed) {
  MutexLock lock(mutex_);
  append(content_.changed, std::move(changed));
  reduce(content_.changed, changes_max_, reduce_at_.changed);
  return announce();
}

bool FleetInbox::put(std::vector<RegistryChange> changes) {
  MutexLock lock(mutex_);
  append(content_.registry, std::move(changes));
  reduce(content_.registry, changes_max_, reduce_at_.registry);
  return announce();
}

bool FleetInbox::put(std::vector<PresenceRow> known) {
  MutexLock lock(mutex_);
  append(content_.known, std::move(known));
  reduce(content_.known, changes_max_, reduce_at_.known);
  return announce();
}

bool FleetInbox::put(std::vector<SeenUpdate> seen) {
  MutexLock lock(mutex_);
  append(content_.seen, std::move(seen));
  if (content_.seen.size() > stamps_max_) {
    content_.seen.erase(content_.seen.begin(), content_.seen.end() - static_cast<std::ptrdiff_t>(stamps_max_ / 2));
  }
  return announce();
}

bool FleetInbox::put(FleetView fleet) {
  MutexLock lock(mutex_);
  content_.fleet = std::move(fleet);
  return announce();
}

FleetInbox::Content FleetInbox::take() {
  MutexLock lock(mutex_);
  announced_ = false;
  reduce_at_ = {};
  return std::exchange(content_, {});
}

}  // namespace fieldgate::http
