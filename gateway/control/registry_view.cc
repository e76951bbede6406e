// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/registry_view.h"

#include <algorithm>

namespace fieldgate::control {

RegistryView::Change RegistryView::apply(const RegistryChange& change) {
  const auto found = entries_.find(change.id);
  if (found == entries_.end()) {
    if (!change.entry) return {};
    add(*change.entry);
    return {std::nullopt, true};
  }
  if (!change.anew && found->revision >= change.revision) return {};
  if (change.anew && change.entry && *found == *change.entry) return {};
  Change result{drop(found), true};
  if (change.entry) add(*change.entry);
  return result;
}

std::vector<DeviceId> RegistryView::missing_from(const std::unordered_set<std::string>& ids) const {
  std::vector<DeviceId> missing;
  for (const DeviceEntry& entry : entries_) {
    if (!ids.contains(entry.id.str())) missing.push_back(entry.id);
  }
  return missing;
}

void RegistryView::add(const DeviceEntry& entry) {
  for (const DeviceCredential& credential : entry.credentials) {
    if (credential.expires_unix_ms != 0) expiries_.emplace(credential.expires_unix_ms, entry.id);
  }
  entries_.insert(entry);
}

DeviceEntry RegistryView::drop(Entries::iterator at) {
  DeviceEntry entry = std::move(entries_.extract(at).value());
  for (const DeviceCredential& credential : entry.credentials) {
    if (credential.expires_unix_ms != 0) expiries_.erase({credential.expires_unix_ms, entry.id});
  }
  return entry;
}

const DeviceEntry* RegistryView::find(std::string_view id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : &*found;
}

std::vector<DeviceEntry> RegistryView::list(std::string_view after, std::size_t limit) const {
  std::vector<DeviceEntry> page;
  for (auto at = entries_.upper_bound(after); at != entries_.end() && page.size() < limit; ++at) {
    page.push_back(*at);
  }
  return page;
}

std::vector<DeviceId> RegistryView::take_expired(std::int64_t now_unix_ms) {
  std::vector<DeviceId> expired;
  while (!expiries_.empty() && expiries_.begin()->first <= now_unix_ms) {
    expired.push_back(expiries_.begin()->second);
    expiries_.erase(expiries_.begin());
  }
  return expired;
}

}  // namespace fieldgate::control
