// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::config {

// Where something was said: a file's name, or "environment variable NAME" with
// line 0. Lines and columns count from 1, columns in bytes.
struct Place {
  std::string source;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};
std::string to_string(const Place& place);

enum class Severity : std::uint8_t { error, warning };

struct Problem {
  Severity severity = Severity::error;
  Place place;
  std::string message;  // one line
};
// "file:line:column: message", a warning with "warning: " before the message.
std::string to_string(const Problem& problem);

bool any_error(const std::vector<Problem>& problems) noexcept;
// By place, in reading order.
void sort_by_place(std::vector<Problem>& problems);

// The text in double quotes, for messages: control characters escaped, at most
// 64 bytes of it.
std::string quoted(std::string_view text);

// The name nearest to `text` by edit distance; empty if none is near enough to
// be meant.
std::string_view nearest_name(std::string_view text, const std::vector<std::string>& names);

}  // namespace fieldgate::config
