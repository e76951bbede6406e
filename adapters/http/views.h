// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/fleet_index.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/node_status.h"

#include <cstdint>
#include <optional>
#include <string>

// The JSON documents of the API; openapi.json has their schemas.
namespace fieldgate::http {

std::string devices_json(const FleetPage& page, const std::optional<std::string>& next_cursor, const FleetIndex& index,
                         std::int64_t now_unix_ms);

// `detail`: nullptr if the device's shard has not answered, or knows nothing of it.
std::string device_json(const DeviceSummary& device, bool inactive, const DeviceDetail* detail);

std::string latest_json(const DeviceSummary& device, const DeviceDetail* detail);

std::string nodes_json(const NodeInfo& node, const Readiness& readiness);
std::string readiness_json(const Readiness& readiness);

}  // namespace fieldgate::http
