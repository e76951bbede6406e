// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/parameters.h"
#include "gateway/core/fleet_index.h"

#include <span>
#include <string_view>
#include <variant>

namespace fieldgate::http {

// The parameters of GET /api/v1/devices.
std::span<const std::string_view> list_parameters() noexcept;

// Reads the parameters of GET /api/v1/devices; the first fault ends it.
std::variant<FleetQuery, ParameterFault> read_list_query(const Target& target, const CursorSeal& seal);

}  // namespace fieldgate::http
