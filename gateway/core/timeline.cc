// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/timeline.h"

#include <algorithm>
#include <array>

namespace fieldgate {
namespace {

constexpr std::array<std::string_view, k_timeline_kinds> k_names = {
    "connected", "disconnected", "refused", "taken_over", "throttled",
    "rejected",  "dropped",      "command", "twin",       "registry"};

}  // namespace

std::string_view to_string(TimelineKind kind) noexcept { return k_names[static_cast<std::size_t>(kind)]; }

std::optional<TimelineKind> timeline_kind(std::string_view name) noexcept {
  const auto* at = std::ranges::find(k_names, name);
  if (at == k_names.end()) return std::nullopt;
  return static_cast<TimelineKind>(at - k_names.begin());
}

}  // namespace fieldgate
