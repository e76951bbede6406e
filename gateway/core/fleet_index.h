// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/cursor.h"
#include "gateway/core/device_summary.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

enum class FleetSort : std::uint8_t { id, last_seen, since };

// Which devices, in what order, and how many of them. Every condition that is
// set must hold.
struct FleetQuery {
  struct LabelIs {
    std::string key;
    std::optional<std::string> value;  // none: any value will do
  };

  std::optional<bool> online;
  std::optional<bool> inactive;
  std::vector<LabelIs> labels;
  std::optional<std::string> firmware;
  std::string id_prefix;

  FleetSort sort = FleetSort::id;
  bool descending = false;
  std::size_t limit = 100;  // k_limit_max at most
  bool count = false;       // also say how many there are in all
  std::optional<CursorPosition> after;

  static constexpr std::size_t k_limit_max = 500;

  // The same for two queries that go through the same list: of the conditions and
  // the order, but not of limit, count and `after`. What a cursor is bound to.
  std::uint64_t fingerprint() const;
};

struct FleetPage {
  // Borrowed from the index, until its next change.
  std::vector<const DeviceSummary*> devices;
  std::optional<CursorPosition> next;  // none: this was the last page
  std::optional<std::size_t> count;    // of all that match, whatever the page
};

// Every device that has been here since the process started, or that the log knows
// from before, as it was last heard of; answers list queries.
// Thread: every member on one thread.
// Bounds: k_devices_max devices; beyond it those that have been offline longest
//         are forgotten. A query looks at each device once at most; by id and
//         without a count, only as far as the page reaches.
// Errors: never throws.
class FleetIndex {
 public:
  static constexpr std::size_t k_devices_max = 250'000;

  // Connected, but without data for `inactive_after_ms`: inactive.
  explicit FleetIndex(std::int64_t inactive_after_ms, std::size_t devices_max = k_devices_max)
      : inactive_after_ms_(inactive_after_ms), devices_max_(devices_max) {}

  // What carries an older epoch than is known is dropped. Within one epoch,
  // offline is final.
  void apply(DeviceSummary change);
  // Moves the time stamps of a device that is known under the same epoch; never
  // back. Everything else is dropped.
  void apply(const SeenUpdate& update);

  const DeviceSummary* find(std::string_view id) const;
  bool inactive(const DeviceSummary& device, std::int64_t now_unix_ms) const;
  FleetPage query(const FleetQuery& query, std::int64_t now_unix_ms) const;
  std::size_t size() const noexcept { return devices_.size(); }

 private:
  using Order = std::map<std::string, std::size_t, std::less<>>;

  bool matches(const DeviceSummary& device, const FleetQuery& query, std::int64_t now_unix_ms) const;
  FleetPage by_id(const FleetQuery& query, std::int64_t now_unix_ms) const;
  FleetPage by_time(const FleetQuery& query, std::int64_t now_unix_ms) const;
  void forget_some();

  std::int64_t inactive_after_ms_;
  std::size_t devices_max_;
  std::vector<DeviceSummary> devices_;
  Order by_id_;  // to the place in devices_
};

}  // namespace fieldgate
