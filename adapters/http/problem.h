// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"

#include <array>
#include <cstddef>
#include <string_view>

namespace fieldgate::http {

// Every way in which a request can fail. docs/http-api.md says what to do about
// each; a test holds it and openapi.json against this list.
enum class Problem : std::uint8_t {
  malformed_request,
  invalid_parameter,
  unknown_parameter,
  missing_parameter,
  invalid_cursor,
  unexpected_body,
  unauthenticated,
  forbidden,
  not_found,
  device_not_found,
  lane_not_found,
  dead_letter_not_found,
  method_not_allowed,
  request_timeout,
  not_replayable,
  body_too_large,
  headers_too_large,
  too_many_connections,
  live_data_unavailable,
  log_full,
  log_unavailable,
  answer_timeout,
  internal_error,
};

struct ProblemInfo {
  Problem problem;
  unsigned status;
  std::string_view type;   // a stable URI reference, to branch on
  std::string_view title;  // for people
};

inline constexpr std::size_t k_problems = static_cast<std::size_t>(Problem::internal_error) + 1;

// In order of the enumerators.
const std::array<ProblemInfo, k_problems>& problems() noexcept;

// A problem document (RFC 9457) about the request with that id. `parameter`:
// which one is at fault; empty for none.
Response make_problem(Problem problem, std::string_view request_id, std::string_view detail,
                      std::string_view parameter = {});

}  // namespace fieldgate::http
