// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_entry.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/dictionary.h"
#include "gateway/core/fleet_query.h"
#include "gateway/core/text_shelf.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace fieldgate {

struct FleetCounts {
  std::size_t known = 0;
  std::size_t registered = 0;
  std::size_t online = 0;
  std::size_t inactive = 0;
};

// Every device that has been here, is in the registry, or is known from before, as it
// was last heard of; answers list queries.
// Thread: every member on one thread.
// Bounds: k_devices_max devices; beyond it those that are offline and not registered
//         are forgotten first, longest offline first. A query walks k_walk_max devices
//         in the order of ids, and looks at each device once beside that, at most.
// Errors: never throws.
class FleetIndex {
 public:
  static constexpr std::size_t k_devices_max = 250'000;
  static constexpr std::size_t k_walk_max = 4'096;

  // Connected, but without data for `inactive_after_ms`: inactive.
  explicit FleetIndex(std::int64_t inactive_after_ms, std::size_t devices_max = k_devices_max);
  FleetIndex(const FleetIndex&) = delete;
  FleetIndex& operator=(const FleetIndex&) = delete;

  // What carries an older epoch than is known is dropped. Within one epoch,
  // offline is final.
  // True if the device has come or gone by it: not where it was first heard of as offline.
  bool apply(const DeviceSummary& change);
  // Moves the time stamps of a device that is known under the same epoch; never
  // back. Everything else is dropped.
  void apply(const SeenUpdate& update);
  // What carries an older revision than is known of the device is dropped. A device
  // that leaves the registry stays, if it has ever connected.
  void apply(const RegistryChange& change);

  // Nobody vouches for these nodes at present: what was last heard of as connected to one of
  // them is shown as offline, for EndReason::node_lost.
  void set_nodes_away(std::vector<std::string> nodes) { away_ = std::move(nodes); }

  std::optional<FleetDevice> find(std::string_view id, std::int64_t now_unix_ms) const;
  FleetPage query(const FleetQuery& query, std::int64_t now_unix_ms) const;
  std::size_t size() const noexcept { return rows_.size(); }
  // Looks at each device.
  FleetCounts counts(std::int64_t now_unix_ms) const;
  // Devices that are connected, by node. Looks at each device.
  std::map<std::string, std::size_t> online_by_node() const;

 private:
  using Row = std::uint32_t;  // place in rows_ and names_
  static constexpr std::uint8_t k_online = 1;
  static constexpr std::uint8_t k_registered = 2;
  static constexpr std::uint8_t k_enabled = 4;
  static constexpr std::uint8_t k_connected = 8;  // at some time, as far as is known

  // What is filtered and sorted by, packed: a scan reads these alone, in one go.
  struct Facts {
    std::int64_t since_unix_ms = 0;
    std::int64_t last_seen_unix_ms = 0;
    std::int64_t last_data_unix_ms = 0;
    std::uint64_t epoch = 0;
    std::uint32_t firmware = 0;  // these five: numbers of dictionaries
    std::uint32_t node = 0;
    std::uint32_t reason = 0;
    std::uint32_t labels = 0;
    std::uint32_t note = 0;
    std::uint8_t flags = 0;
  };
  struct Name {
    explicit Name(DeviceId device) : id(std::move(device)) {}
    DeviceId id;
    std::uint32_t reported_labels = 0;
    std::uint32_t registry_labels = 0;
    RegistryFacts registry;
  };
  struct LabelsHash {
    std::size_t operator()(const Labels& labels) const noexcept;
  };

  // Rows by the id that they have: kept by number, looked up by text.
  struct ById {
    using is_transparent = void;
    const std::vector<Name>* names;
    std::string_view id(Row row) const { return (*names)[row].id; }
    std::string_view id(std::string_view text) const { return text; }
    bool operator()(const auto& a, const auto& b) const { return id(a) < id(b); }
  };
  struct SameId {
    using is_transparent = void;
    ById by;
    bool operator()(const auto& a, const auto& b) const { return by.id(a) == by.id(b); }
  };
  struct HashOfId {
    using is_transparent = void;
    ById by;
    std::size_t operator()(const auto& a) const { return std::hash<std::string_view>()(by.id(a)); }
  };
  using Order = std::set<Row, ById>;

  class Matcher;
  class Selection;

  Row find_or_add(const DeviceId& id);
  void remove(Row row);
  void forget_some();
  void merge_labels(Row row);
  void shelve(Row row);
  FleetDevice device(Row row, std::int64_t now_unix_ms) const;
  bool online(const Facts& facts) const { return (facts.flags & k_online) != 0 && !adrift(facts); }
  // Said to be online, at a node that is away.
  bool adrift(const Facts& facts) const;
  bool inactive(const Facts& facts, std::int64_t now_unix_ms, std::int64_t after_ms) const;
  // The rows of the page and, where there are more, one beyond.
  std::vector<Row> select(const FleetQuery& query, const Matcher& matches, FleetPage& page) const;
  enum class Walk : std::uint8_t { given_up, page_full, all_seen };
  Walk walk(const FleetQuery& query, const Matcher& matches, std::vector<Row>& found, FleetPlan& plan) const;
  std::size_t count(const Matcher& matches, FleetPlan& plan) const;

  const std::int64_t inactive_after_ms_;
  const std::size_t devices_max_;
  std::vector<Facts> rows_;
  std::vector<Name> names_;  // as rows_
  Order order_{ById{&names_}};
  std::unordered_set<Row, HashOfId, SameId> by_id_{0, HashOfId{{&names_}}, SameId{{&names_}}};
  Dictionary<std::string> firmwares_;
  Dictionary<std::string> nodes_;
  Dictionary<std::string> reasons_;
  Dictionary<std::string> notes_;
  Dictionary<Labels, LabelsHash> labels_;
  std::vector<std::string> away_;
  TextShelf label_texts_;  // by row: what label conditions look for
  TextShelf words_;        // by row: what is looked through for a text, in lower case
};

}  // namespace fieldgate
