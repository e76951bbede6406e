// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/parameters.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <utility>
#include <vector>

namespace fieldgate::http {
namespace {

// Levenshtein's.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row.back();
}

}  // namespace

Response make_problem(const ParameterFault& fault, std::string_view request_id) {
  return make_problem(fault.problem, request_id, fault.detail, fault.parameter);
}

ParameterFault invalid_parameter(std::string_view name, std::string_view want) {
  return {Problem::invalid_parameter, std::string(name), std::string(name) + ": " + std::string(want)};
}

std::optional<ParameterFault> refuse_unknown(const Target& target, std::span<const std::string_view> known) {
  for (const auto& [name, value] : target.parameters) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    // A name as long as this is nobody's slip of the pen, and costs to compare.
    const std::string shown = name.size() > 64 ? std::string("(over 64 bytes)") : name;
    ParameterFault fault{Problem::unknown_parameter, shown, "unknown parameter '" + shown + "'"};
    if (known.empty()) {
      fault.detail += "; this path takes none";
    } else {
      const auto nearest = std::min_element(known.begin(), known.end(), [&](std::string_view a, std::string_view b) {
        return distance(a, shown) < distance(b, shown);
      });
      fault.detail += "; did you mean '" + std::string(*nearest) + "'?";
    }
    return fault;
  }
  return {};
}

std::optional<ParameterFault> refuse_repeated(const Target& target, std::string_view repeatable) {
  std::vector<std::string_view> given;
  for (const auto& [name, value] : target.parameters) {
    if (name == repeatable) continue;
    if (std::find(given.begin(), given.end(), name) != given.end()) {
      return invalid_parameter(name, "given more than once");
    }
    given.push_back(name);
  }
  return {};
}

std::optional<ParameterFault> read_limit(const std::string& value, std::size_t max, std::size_t& out) {
  const char* end = value.data() + value.size();
  const auto [at, ec] = std::from_chars(value.data(), end, out);
  if (ec != std::errc() || at != end || out < 1 || out > max) {
    return invalid_parameter("limit", "want a number from 1 to " + std::to_string(max));
  }
  return {};
}

std::variant<CursorPosition, ParameterFault> read_cursor(const std::string& text, std::uint64_t fingerprint,
                                                         const CursorSeal& seal) {
  Result<CursorPosition> position = seal.open(text, fingerprint);
  if (position) return std::move(*position);
  const bool other = position.error().code == Errc::forbidden;
  return ParameterFault{Problem::invalid_cursor, "cursor",
                        other ? "the cursor belongs to a query with other filters or another order; repeat them, or "
                                "begin without a cursor"
                              : position.error().detail + "; begin without a cursor"};
}

}  // namespace fieldgate::http
