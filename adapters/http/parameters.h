// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"
#include "adapters/http/problem.h"
#include "adapters/http/sealed_cursor.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

// What the readers of query parameters have in common.
namespace fieldgate::http {

// What is wrong with a request's parameters.
struct ParameterFault {
  Problem problem = Problem::invalid_parameter;
  std::string parameter;
  std::string detail;
};

Response make_problem(const ParameterFault& fault, std::string_view request_id);

// `want`: what a good value looks like.
ParameterFault invalid_parameter(std::string_view name, std::string_view want);

// The one of `known` that `name` is most likely a slip of the pen for. `known` is not empty.
std::string_view nearest(std::string_view name, std::span<const std::string_view> known);

// Refuses every parameter that is not among `known`, suggesting the nearest.
std::optional<ParameterFault> refuse_unknown(const Target& target, std::span<const std::string_view> known);

// Refuses every parameter but `repeatable` that is there more than once.
std::optional<ParameterFault> refuse_repeated(const Target& target, std::string_view repeatable = {});

// true or false.
std::optional<ParameterFault> read_bool(std::string_view name, const std::string& value, std::optional<bool>& out);
std::optional<ParameterFault> read_flag(std::string_view name, const std::string& value, bool& out);

inline constexpr std::chrono::milliseconds k_duration_max = std::chrono::hours(24 * 366);

// "10s", "500ms", "5m", "24h", "7d", or seconds as digits alone; nullopt: none of these.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
std::optional<ParameterFault> read_duration(std::string_view name, const std::string& value,
                                            std::chrono::milliseconds min, std::chrono::milliseconds max,
                                            std::chrono::milliseconds& out);

// RFC 3339, to the millisecond (what is finer is cut off), as Unix milliseconds.
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

// A number of entries, from 1 to `max`.
std::optional<ParameterFault> read_limit(const std::string& value, std::size_t max, std::size_t& out);

// Where the page before ended, if `text` was sealed for the same query.
std::variant<CursorPosition, ParameterFault> read_cursor(const std::string& text, std::uint64_t fingerprint,
                                                         const CursorSeal& seal);

// A page of a list that has no conditions: `limit` and `cursor`, and nothing else.
struct PageRequest {
  std::size_t limit = 50;
  std::optional<CursorPosition> after{};
  std::uint64_t fingerprint = 0;
};
// `list`: what its cursors are bound to.
std::variant<PageRequest, ParameterFault> read_page(const Target& target, std::string_view list, std::size_t limit_max,
                                                    const CursorSeal& seal);

}  // namespace fieldgate::http
