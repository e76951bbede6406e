// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_entry.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace fieldgate::control {

// The registry in memory, as this process last heard of it.
// Thread: one. Bounds: as many entries as the registry has.
class RegistryView {
 public:
  struct Change {
    std::optional<DeviceEntry> before;
    bool news = false;  // false: known already, or older than what is known
  };
  Change apply(const RegistryChange& change);
  // Those that `ids` does not name.
  std::vector<DeviceId> missing_from(const std::unordered_set<std::string>& ids) const;

  const DeviceEntry* find(std::string_view id) const;
  // In the order of ids, after `after`.
  std::vector<DeviceEntry> list(std::string_view after, std::size_t limit) const;
  std::size_t size() const noexcept { return entries_.size(); }

  // Devices of which a credential has expired since the last call, or had as it came.
  std::vector<DeviceId> take_expired(std::int64_t now_unix_ms);

 private:
  struct ById {
    using is_transparent = void;
    static std::string_view id(const DeviceEntry& entry) { return entry.id; }
    static std::string_view id(std::string_view text) { return text; }
    bool operator()(const auto& a, const auto& b) const { return id(a) < id(b); }
  };
  using Entries = std::set<DeviceEntry, ById>;
  void add(const DeviceEntry& entry);
  DeviceEntry drop(Entries::iterator at);

  Entries entries_;
  std::set<std::pair<std::int64_t, DeviceId>> expiries_;  // of credentials; Unix milliseconds
};

}  // namespace fieldgate::control
