// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"
#include "adapters/http/problem.h"
#include "adapters/http/sealed_cursor.h"
#include "gateway/core/fleet_index.h"

#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace fieldgate::http {

// What is wrong with a request's parameters.
struct ParameterFault {
  Problem problem = Problem::invalid_parameter;
  std::string parameter;
  std::string detail;
};

// The parameters of GET /api/v1/devices.
std::span<const std::string_view> list_parameters() noexcept;

// Refuses every parameter that is not among `known`, suggesting the nearest.
std::optional<ParameterFault> refuse_unknown(const Target& target, std::span<const std::string_view> known);

// Reads the parameters of GET /api/v1/devices; the first fault ends it.
std::variant<FleetQuery, ParameterFault> read_list_query(const Target& target, const CursorSeal& seal);

}  // namespace fieldgate::http
