// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/ports/presence_view.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// What is kept retained at the broker: presence of devices, status of nodes.
namespace fieldgate::mqtt {

inline constexpr std::size_t k_retained_bytes_max = 1'024;

// {"online":true,"epoch":"42","node":"gw-1","boot_id":"b1","since_ms":17}, and
// "reason" while offline.
std::string write_presence(const PresenceState& state, std::string_view node, std::string_view boot_id);

struct RetainedPresence {
  bool online = false;
  Epoch epoch;
  std::string node;
  std::string boot_id;
  std::int64_t since_unix_ms = 0;
};
// nullopt for anything that no Fieldgate node would have written: the broker, and
// whoever may write to it, are not trusted.
std::optional<RetainedPresence> parse_presence(std::string_view payload);

struct NodeState {
  bool online = false;
  std::string node;
  std::string boot_id;
  std::int64_t since_unix_ms = 0;
  std::string version;  // online only
  std::string reason;   // offline only
};
std::string write_node_state(const NodeState& state);
// As for parse_presence; `version` and `reason` are not read.
std::optional<NodeState> parse_node_state(std::string_view payload);

}  // namespace fieldgate::mqtt
