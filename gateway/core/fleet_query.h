// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/cursor.h"
#include "gateway/core/device_summary.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

enum class FleetSort : std::uint8_t { id, last_seen, last_data, since, firmware };

// A condition on one label.
struct LabelCondition {
  enum class Is : std::uint8_t { present, absent, equal, different };  // different: absent, too
  std::string key;
  Is is = Is::present;
  std::string value{};  // of equal and different
};

// All labels as one text, in which each condition is one text to look for: so that many
// devices can be asked fast. Control characters in keys and values count as one.
std::string label_text(const Labels& labels);
// What to look for; `different` and `absent` hold where it is not there.
std::string label_needle(const LabelCondition& condition);

// ASCII letters alone.
std::string lower_case(std::string text);

// Which devices, in what order, and how many of them. Every condition that is
// set must hold.
struct FleetQuery {
  std::optional<bool> online;
  std::optional<bool> inactive;
  std::optional<bool> registered;
  std::optional<bool> enabled;                  // registered, and enabled or not
  std::optional<std::int64_t> inactive_for_ms;  // connected, and without data for so long
  std::optional<std::int64_t> last_seen_after;  // Unix ms: then or later
  std::optional<std::int64_t> last_seen_before;
  std::vector<LabelCondition> labels;
  std::optional<std::string> firmware;
  std::optional<std::string> node;
  std::optional<std::string> reason;  // of devices that are offline
  std::string id_prefix;
  std::string text;  // in the id, the note or the value of a label; case of ASCII letters apart

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

// What the registry knows of a device, as far as lists show it.
struct RegistryFacts {
  bool enabled = true;
  bool automatic = false;
  std::uint32_t credentials = 0;
  std::int64_t created_unix_ms = 0;
  std::int64_t updated_unix_ms = 0;
  std::uint64_t revision = 0;
};

// One device, as the index knows it. Borrows from the index, until its next change.
struct FleetDevice {
  const DeviceId& id;
  bool online = false;
  bool inactive = false;
  Epoch epoch{};  // 0: has never connected, as far as is known
  std::int64_t since_unix_ms = 0;
  std::int64_t last_seen_unix_ms = 0;
  std::int64_t last_data_unix_ms = 0;
  const std::string& firmware;
  const std::string& node;
  const std::string& reason;
  const std::string& note;
  const Labels& labels;           // what the device says, overlaid by the registry's
  const Labels& registry_labels;  // the latter alone
  const RegistryFacts* registry;  // nullptr: not registered
};

// How a query was answered.
struct FleetPlan {
  // "id": along the order of ids, from where the page begins; "scan": every device
  // looked at once; "id, then scan": too few along the way; "none": no device can match.
  std::string_view path = "none";
  std::size_t walked = 0;   // devices looked at along the order of ids
  std::size_t scanned = 0;  // and in the scan
  std::size_t matched = 0;  // of those: met every condition
};

struct FleetPage {
  std::vector<FleetDevice> devices;
  std::optional<CursorPosition> next;  // none: this was the last page
  std::optional<std::size_t> count;    // of all that match, whatever the page
  FleetPlan plan;
};

}  // namespace fieldgate
