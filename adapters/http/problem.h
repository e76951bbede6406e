// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
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
  invalid_header,
  invalid_body,
  unexpected_body,
  unauthenticated,
  forbidden,
  not_found,
  device_not_found,
  lane_not_found,
  dead_letter_not_found,
  credential_not_found,
  command_not_found,
  device_offline,
  method_not_allowed,
  request_timeout,
  not_replayable,
  credential_taken,
  too_many_credentials,
  idempotency_conflict,
  command_ended,
  precondition_failed,
  body_too_large,
  unsupported_media_type,
  queue_full,
  headers_too_large,
  no_store,
  store_unavailable,
  too_many_connections,
  too_many_subscribers,
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

// What is wrong with one member of a body.
struct BodyFault {
  std::string pointer;  // JSON Pointer (RFC 6901); empty: the body as a whole
  std::string detail;
};

// A problem document (RFC 9457) about the request with that id. `parameter`: which one
// is at fault; empty for none. `errors`: at most k_body_faults_max of them are shown.
inline constexpr std::size_t k_body_faults_max = 32;
Response make_problem(Problem problem, std::string_view request_id, std::string_view detail,
                      std::string_view parameter = {}, std::span<const BodyFault> errors = {});

}  // namespace fieldgate::http
