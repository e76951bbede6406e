// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/fleet_index.h"
#include "gateway/ports/device_store.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/node_status.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The JSON documents about devices and nodes; openapi.json has their schemas.
namespace fieldgate::http {

// The members of a device in lists, one bit each.
inline constexpr std::size_t k_device_fields = 14;
inline constexpr std::uint32_t k_all_device_fields = (1U << k_device_fields) - 1;
// nullopt: there is no such member.
std::optional<std::uint32_t> device_field(std::string_view name) noexcept;

inline constexpr std::string_view k_ndjson_type = "application/x-ndjson";

// The strong entity tag of a registry entry, with its quotation marks.
std::string revision_tag(std::uint64_t revision);

// `explain`: says how the page was found, too. `as_of_unix_ms`: what other nodes did is
// known up to then; nullopt: there are none.
std::string devices_json(const FleetPage& page, std::uint32_t fields, const std::optional<std::string>& next_cursor,
                         bool explain, std::optional<std::int64_t> as_of_unix_ms);
// One line of NDJSON.
std::string device_line(const FleetDevice& device, std::uint32_t fields);

// `detail`: nullptr if the device's shard has not answered, or knows nothing of it.
std::string device_json(const FleetDevice& device, const DeviceDetail* detail);

std::string latest_json(const FleetDevice& device, const DeviceDetail* detail);

// `known`: what the store knows of nodes; nullptr: nothing (there is none, or it does not answer).
// `online`: devices connected to each.
std::string nodes_json(const NodeInfo& node, const Readiness& readiness, const std::vector<NodeRow>* known,
                       const std::map<std::string, std::size_t>& online);
std::string readiness_json(const Readiness& readiness);

}  // namespace fieldgate::http
