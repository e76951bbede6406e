// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/parameters.h"
#include "adapters/http/views.h"
#include "gateway/core/fleet_index.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

namespace fieldgate::http {

inline constexpr std::size_t k_export_page = 250;  // devices that one piece of an export holds

struct ListRequest {
  FleetQuery query;
  std::uint32_t fields = k_all_device_fields;
  bool ndjson = false;
  bool explain = false;
};

// The parameters of GET /api/v1/devices.
std::span<const std::string_view> list_parameters() noexcept;

// Reads the parameters of GET /api/v1/devices, and its Accept; the first fault ends it.
std::variant<ListRequest, ParameterFault> read_list_query(const Request& request, const CursorSeal& seal);

}  // namespace fieldgate::http
