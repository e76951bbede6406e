// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fieldgate::wire {

// Levels of objects and arrays within each other.
inline constexpr unsigned k_json_depth_max = 32;

// What keeps `text` from being one JSON object (RFC 8259) of at most
// k_json_depth_max levels, with the byte it is found at; nothing if it is one.
// Builds nothing. Precondition: `text` is valid UTF-8.
std::optional<std::string> json_object_problem(std::string_view text);

}  // namespace fieldgate::wire
