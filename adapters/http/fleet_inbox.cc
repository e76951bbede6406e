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

}  // namespace

bool FleetInbox::announce() { return !std::exchange(announced_, true); }

bool FleetInbox::put(std::vector<DeviceSummary> changed) {
  MutexLock lock(mutex_);
  append(content_.changed, std::move(changed));
  if (content_.changed.size() > reduce_at_) reduce();
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

void FleetInbox::reduce() {
  std::vector<DeviceSummary> last;
  std::unordered_set<DeviceId> known;
  for (auto at = content_.changed.rbegin(); at != content_.changed.rend(); ++at) {
    if (known.insert(at->id).second) last.push_back(std::move(*at));
  }
  std::reverse(last.begin(), last.end());
  content_.changed = std::move(last);
  reduce_at_ = std::max(changes_max_, 2 * content_.changed.size());
}

FleetInbox::Content FleetInbox::take() {
  MutexLock lock(mutex_);
  announced_ = false;
  reduce_at_ = changes_max_;
  return std::exchange(content_, {});
}

}  // namespace fieldgate::http
