// SPDX-License-Identifier: Apache-2.0
//
// The part of PresenceLog that looks after firmware and labels in a store that was set back:
// they are not in the log, and are otherwise written as a device is let in.
#include "gateway/control/presence_log.h"
#include "gateway/core/device_state.h"

#include <algorithm>
#include <map>
#include <utility>

namespace fieldgate::control {
namespace {

// What is shown of a connected device; `known`, the registry's labels, are laid over its own.
// Only the sum is known here: what the registry says is left out of what is the device's own.
ProfileUpdate profile_of(const DeviceSummary& device, const Labels& known) {
  ProfileUpdate update{device.id, device.epoch, device.firmware, device.labels};
  std::erase_if(update.labels, [&known](const auto& label) { return std::ranges::find(known, label) != known.end(); });
  return update;
}

// Of those that the store knows with this epoch and another profile.
Result<std::vector<ProfileUpdate>> differing(DeviceStore& store, const std::vector<DeviceSummary>& devices) {
  std::vector<DeviceId> ids;
  for (const DeviceSummary& device : devices) ids.push_back(device.id);
  auto rows = store.presence_of(ids);
  if (!rows) return rows.error();
  std::map<std::string_view, const PresenceRow*> row_of;
  for (const PresenceRow& row : *rows) row_of.emplace(row.device.str(), &row);
  std::vector<ProfileUpdate> updates;
  for (const DeviceSummary& device : devices) {
    const auto at = row_of.find(device.id.str());
    if (at == row_of.end() || at->second->epoch != device.epoch) continue;
    const PresenceRow& row = *at->second;
    if (row.profile_epoch == device.epoch) continue;  // of this very connection
    if (row.firmware == device.firmware && row.labels == device.labels) continue;
    auto entry = store.device(device.id);
    if (!entry) return entry.error();
    const Labels known = entry->has_value() ? (*entry)->labels : Labels{};
    const bool same = row.firmware == device.firmware && overlaid(row.labels, known) == overlaid(device.labels, known);
    if (!same) updates.push_back(profile_of(device, known));
  }
  return updates;
}

}  // namespace

// After say(): what it says is in the store by then.
void PresenceLog::say_profiles(const std::vector<DeviceSummary>& devices) {
  auto page = std::make_shared<std::vector<DeviceSummary>>();
  const auto write = [this](std::shared_ptr<std::vector<DeviceSummary>> these) {
    run(
        [these](DeviceStore& store) -> Result<void> {
          const auto updates = differing(store, *these);
          if (!updates) return updates.error();
          return updates->empty() ? Result<void>() : store.set_profiles(*updates);
        },
        [this](const Result<void>& outcome) {
          if (!outcome) unsaid_ = true;
        });
  };
  for (const DeviceSummary& device : devices) {
    if (!device.online || device.epoch == Epoch{}) continue;
    page->push_back(device);
    if (page->size() < k_page) continue;
    write(std::exchange(page, std::make_shared<std::vector<DeviceSummary>>()));
  }
  if (!page->empty()) write(std::move(page));
}

}  // namespace fieldgate::control
