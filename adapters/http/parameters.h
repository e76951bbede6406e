// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"
#include "adapters/http/problem.h"
#include "adapters/http/sealed_cursor.h"

#include <cstddef>
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

// Refuses every parameter that is not among `known`, suggesting the nearest.
std::optional<ParameterFault> refuse_unknown(const Target& target, std::span<const std::string_view> known);

// Refuses every parameter but `repeatable` that is there more than once.
std::optional<ParameterFault> refuse_repeated(const Target& target, std::string_view repeatable = {});

// A number of entries, from 1 to `max`.
std::optional<ParameterFault> read_limit(const std::string& value, std::size_t max, std::size_t& out);

// Where the page before ended, if `text` was sealed for the same query.
std::variant<CursorPosition, ParameterFault> read_cursor(const std::string& text, std::uint64_t fingerprint,
                                                         const CursorSeal& seal);

}  // namespace fieldgate::http
