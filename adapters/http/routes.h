// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/token_table.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::http {

// What a path of the API stands for.
enum class Route : std::uint8_t {
  devices,
  device,
  latest,
  nodes,
  lanes,
  lane,
  lane_pause,
  lane_resume,
  dead_letters,
  dead_letters_replay,
  dead_letter,
  dead_letter_replay,
  openapi,
};

struct RouteInfo {
  Route route;
  std::string_view path;   // as in openapi.json: {name} stands for any segment that is not empty
  std::string_view allow;  // the methods, as Allow lists them
};

// Every path there is. openapi.json is held against it by a test.
std::span<const RouteInfo> routes() noexcept;

// nullptr: nothing is there.
const RouteInfo* find_route(const std::vector<std::string>& segments) noexcept;

bool allows(const RouteInfo& route, std::string_view method) noexcept;

// What a token must be good for to use that method: whatever changes something
// needs admin.
Scope scope_of(std::string_view method) noexcept;

}  // namespace fieldgate::http
