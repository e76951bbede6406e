// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/problem.h"

#include "adapters/http/json_writer.h"

#include <algorithm>

namespace fieldgate::http {
namespace {

using enum Problem;

constexpr std::array<ProblemInfo, k_problems> k_table = {{
    {malformed_request, 400, "/problems/malformed-request", "Not a well-formed HTTP request"},
    {invalid_parameter, 400, "/problems/invalid-parameter", "A parameter has an invalid value"},
    {unknown_parameter, 400, "/problems/unknown-parameter", "There is no such parameter here"},
    {missing_parameter, 400, "/problems/missing-parameter", "A parameter is needed here"},
    {invalid_cursor, 400, "/problems/invalid-cursor", "The cursor does not belong to this query"},
    {invalid_header, 400, "/problems/invalid-header", "A header field has an invalid value"},
    {invalid_body, 400, "/problems/invalid-body", "The body is not what is wanted here"},
    {unexpected_body, 400, "/problems/unexpected-body", "This request takes no body"},
    {unauthenticated, 401, "/problems/unauthenticated", "A valid bearer token is needed"},
    {forbidden, 403, "/problems/forbidden", "The token does not allow this"},
    {not_found, 404, "/problems/not-found", "There is nothing at this path"},
    {device_not_found, 404, "/problems/device-not-found", "No such device is known"},
    {lane_not_found, 404, "/problems/lane-not-found", "There is no such lane"},
    {dead_letter_not_found, 404, "/problems/dead-letter-not-found", "There is no such dead letter"},
    {credential_not_found, 404, "/problems/credential-not-found", "The device has no such credential"},
    {command_not_found, 404, "/problems/command-not-found", "There is no such command"},
    {device_offline, 404, "/problems/device-offline", "The device has no connection here"},
    {method_not_allowed, 405, "/problems/method-not-allowed", "This path does not take that method"},
    {request_timeout, 408, "/problems/request-timeout", "The request did not arrive in time"},
    {not_replayable, 409, "/problems/not-replayable", "The lane would not take the record any more"},
    {credential_taken, 409, "/problems/credential-taken", "The credential is in use already"},
    {too_many_credentials, 409, "/problems/too-many-credentials", "The device has as many credentials as it may"},
    {idempotency_conflict, 409, "/problems/idempotency-conflict", "The key stands for another request"},
    {command_ended, 409, "/problems/command-ended", "The command has come to its end"},
    {precondition_failed, 412, "/problems/precondition-failed", "It is not what the request expects any more"},
    {body_too_large, 413, "/problems/body-too-large", "The body is too large"},
    {unsupported_media_type, 415, "/problems/unsupported-media-type", "The body's type is not taken here"},
    {queue_full, 429, "/problems/queue-full", "Too many commands, or waiting for them, already"},
    {headers_too_large, 431, "/problems/headers-too-large", "The request's head is too large"},
    {no_store, 501, "/problems/no-store", "This gateway keeps no store"},
    {store_unavailable, 503, "/problems/store-unavailable", "The store does not answer"},
    {too_many_connections, 503, "/problems/too-many-connections", "All connections are in use"},
    {too_many_subscribers, 503, "/problems/too-many-subscribers", "All live streams are in use"},
    {live_data_unavailable, 503, "/problems/live-data-unavailable", "The device's shard did not answer in time"},
    {log_full, 503, "/problems/log-full", "The uplink log has no room now"},
    {log_unavailable, 503, "/problems/log-unavailable", "The uplink log takes nothing any more"},
    {answer_timeout, 503, "/problems/answer-timeout", "The answer was not ready in time"},
    {internal_error, 500, "/problems/internal-error", "The gateway failed to answer"},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < k_table.size(); ++i) {
    if (static_cast<std::size_t>(k_table[i].problem) != i) return false;
  }
  return true;
}
static_assert(in_order(), "one row for each Problem, in the order of the enumerators");

}  // namespace

const std::array<ProblemInfo, k_problems>& problems() noexcept { return k_table; }

Response make_problem(Problem problem, std::string_view request_id, std::string_view detail, std::string_view parameter,
                      std::span<const BodyFault> errors) {
  const ProblemInfo& info = k_table[static_cast<std::size_t>(problem)];
  JsonWriter json;
  json.begin_object()
      .field("type", info.type)
      .field("title", info.title)
      .field("status", info.status)
      .field("detail", detail)
      .field("instance", "urn:fieldgate:request:" + std::string(request_id));
  if (!parameter.empty()) json.field("parameter", parameter);
  if (!errors.empty()) {
    json.key("errors").begin_array();
    for (const BodyFault& fault : errors.first(std::min(errors.size(), k_body_faults_max))) {
      json.begin_object().field("pointer", fault.pointer).field("detail", fault.detail).end_object();
    }
    json.end_array();
  }
  json.end_object();

  Response response;
  response.status = info.status;
  response.content_type = "application/problem+json";
  response.body = std::move(json).take();
  if (info.status == 503 || info.status == 429) response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace fieldgate::http
