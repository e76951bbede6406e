// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/routes.h"

#include "adapters/http/text.h"

#include <algorithm>
#include <array>

namespace fieldgate::http {
namespace {

constexpr std::string_view k_look = "GET, HEAD, OPTIONS";
constexpr std::string_view k_look_or_delete = "GET, HEAD, DELETE, OPTIONS";
constexpr std::string_view k_act = "POST, OPTIONS";

// The first that fits counts.
constexpr std::array<RouteInfo, 14> k_routes = {{
    {Route::devices, "/api/v1/devices", k_look},
    {Route::device, "/api/v1/devices/{id}", k_look},
    {Route::latest, "/api/v1/devices/{id}/telemetry/latest", k_look},
    {Route::nodes, "/api/v1/nodes", k_look},
    {Route::lanes, "/api/v1/lanes", k_look},
    {Route::lane, "/api/v1/lanes/{name}", k_look},
    {Route::lane_pause, "/api/v1/lanes/{name}/pause", k_act},
    {Route::lane_resume, "/api/v1/lanes/{name}/resume", k_act},
    {Route::dead_letters, "/api/v1/dead-letters", k_look_or_delete},
    {Route::dead_letters_replay, "/api/v1/dead-letters/replay", k_act},
    {Route::dead_letter, "/api/v1/dead-letters/{id}", k_look_or_delete},
    {Route::dead_letter_replay, "/api/v1/dead-letters/{id}/replay", k_act},
    {Route::openapi, "/api/v1/openapi.json", k_look},
    {Route::openapi, "/openapi.json", k_look},
}};

bool fits(std::string_view path, const std::vector<std::string>& segments) {
  for (const std::string& segment : segments) {
    if (!path.starts_with('/')) return false;
    path.remove_prefix(1);
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.starts_with('{') ? segment.empty() : segment != part) return false;
    path.remove_prefix(part.size());
  }
  return path.empty();
}

}  // namespace

std::span<const RouteInfo> routes() noexcept { return k_routes; }

const RouteInfo* find_route(const std::vector<std::string>& segments) noexcept {
  const auto* at = std::find_if(k_routes.begin(), k_routes.end(),
                                [&](const RouteInfo& route) { return fits(route.path, segments); });
  return at == k_routes.end() ? nullptr : at;
}

bool allows(const RouteInfo& route, std::string_view method) noexcept {
  bool found = false;
  for_each_item(route.allow, [&](std::string_view item) { found = found || item == method; });
  return found;
}

Scope scope_of(std::string_view method) noexcept {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" ? Scope::read : Scope::admin;
}

}  // namespace fieldgate::http
