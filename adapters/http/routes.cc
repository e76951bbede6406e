// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/routes.h"

#include "adapters/http/text.h"

#include <algorithm>
#include <array>

namespace fieldgate::http {
namespace {

constexpr std::string_view k_look = "GET, HEAD, OPTIONS";
constexpr std::string_view k_look_or_delete = "GET, HEAD, DELETE, OPTIONS";
constexpr std::string_view k_look_or_add = "GET, HEAD, POST, OPTIONS";
constexpr std::string_view k_look_or_put = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";
constexpr std::string_view k_put = "PUT, PATCH, OPTIONS";
constexpr std::string_view k_act = "POST, OPTIONS";
constexpr std::string_view k_delete = "DELETE, OPTIONS";

constexpr std::uint64_t k_import_bytes_max = std::uint64_t{1} << 30;

// The first that fits counts.
constexpr std::array<RouteInfo, 30> k_routes = {{
    {Route::devices, "/api/v1/devices", k_look},
    {Route::devices_import,
     "/api/v1/devices/import",
     k_act,
     Scope::read,
     Scope::admin,
     {BodyMode::streamed, k_import_bytes_max}},
    {Route::devices_export, "/api/v1/devices/export", k_look, Scope::admin},  // it has hashes of credentials
    {Route::device, "/api/v1/devices/{id}", k_look_or_put},
    {Route::latest, "/api/v1/devices/{id}/telemetry/latest", k_look},
    {Route::session, "/api/v1/devices/{id}/session", k_delete, Scope::read, Scope::command},
    {Route::credentials, "/api/v1/devices/{id}/credentials", k_look_or_add, Scope::admin},  // so has this
    {Route::credential, "/api/v1/devices/{id}/credentials/{credential}", k_delete},
    {Route::device_commands, "/api/v1/devices/{id}/commands", k_look_or_add, Scope::read, Scope::command},
    {Route::command, "/api/v1/commands/{command}", k_look_or_delete, Scope::read, Scope::command},
    {Route::twin, "/api/v1/devices/{id}/twin", k_look},
    {Route::twin_desired, "/api/v1/devices/{id}/twin/desired", k_put, Scope::read, Scope::command},
    {Route::timeline, "/api/v1/devices/{id}/timeline", k_look},
    {Route::presence, "/api/v1/devices/{id}/presence", k_look},
    {Route::refusals, "/api/v1/refusals", k_look},
    {Route::nodes, "/api/v1/nodes", k_look},
    {Route::overview, "/api/v1/overview", k_look},
    {Route::stream, "/api/v1/stream", k_look},
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
    {Route::page, "/", k_look},
    {Route::page, "/assets/{name}", k_look},
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

bool is_change(std::string_view method) noexcept { return method != "GET" && method != "HEAD" && method != "OPTIONS"; }

bool takes_body(const RouteInfo& route, std::string_view method) noexcept {
  switch (route.route) {
    case Route::device:
    case Route::twin_desired: return method == "PUT" || method == "PATCH";
    case Route::credentials:
    case Route::device_commands:
    case Route::devices_import: return method == "POST";
    default: return false;
  }
}

Scope scope_of(const RouteInfo& route, std::string_view method) noexcept {
  return is_change(method) ? route.change : route.look;
}

}  // namespace fieldgate::http
