// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/body.h"
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
  devices_import,
  devices_export,
  device,
  latest,
  session,
  credentials,
  credential,
  device_commands,
  command,
  twin,
  twin_desired,
  timeline,
  presence,
  refusals,
  nodes,
  overview,
  stream,
  lanes,
  lane,
  lane_pause,
  lane_resume,
  dead_letters,
  dead_letters_replay,
  dead_letter,
  dead_letter_replay,
  openapi,
  page,  // of the dashboard, and what belongs to it: no token needed
};

struct RouteInfo {
  Route route;
  std::string_view path;   // as in openapi.json: {name} stands for any segment that is not empty
  std::string_view allow;  // the methods, as Allow lists them
  // What a token must be good for: to look, and to change something.
  Scope look = Scope::read;
  Scope change = Scope::admin;
  BodyPlan body{};  // of the methods that take one
};

// Every path there is. openapi.json is held against it by a test.
std::span<const RouteInfo> routes() noexcept;

// nullptr: nothing is there.
const RouteInfo* find_route(const std::vector<std::string>& segments) noexcept;

bool allows(const RouteInfo& route, std::string_view method) noexcept;

// Whether the method changes something.
bool is_change(std::string_view method) noexcept;

// Whether a request of that kind takes a body.
bool takes_body(const RouteInfo& route, std::string_view method) noexcept;

// What a token must be good for to use that method there.
Scope scope_of(const RouteInfo& route, std::string_view method) noexcept;

}  // namespace fieldgate::http
