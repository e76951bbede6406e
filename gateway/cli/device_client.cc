// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/device_client.h"

#include "gateway/cli/command_line.h"
#include "gateway/cli/device_table.h"

#include <boost/json/parse.hpp>

#include <utility>

namespace fieldgate {
namespace {

constexpr std::size_t k_levels_max = 32;

ApiResult<boost::json::value> read_json(const std::string& text) {
  boost::json::error_code error;
  auto value = boost::json::parse(text, error, {}, {.max_depth = k_levels_max});
  if (error)
    return ApiFailure{k_exit_unavailable, "the answer is no JSON (" + error.message() + "): is --api Fieldgate's API?"};
  return value;
}

int exit_status_of(int status) {
  if (status == 401 || status == 403) return k_exit_not_allowed;
  return status >= 502 && status <= 504 ? k_exit_unavailable : k_exit_refused;
}

// What a problem document says, with each member of the body or the parameter at fault.
ApiFailure failure_of(const ApiAnswer& answer) {
  ApiFailure failure{exit_status_of(answer.status), ""};
  if (answer.status < 400) {
    return {k_exit_unavailable, "status " + std::to_string(answer.status) +
                                    " is no answer of Fieldgate's API (redirects are not followed): correct --api"};
  }
  boost::json::error_code error;
  const auto problem = boost::json::parse(answer.body, error, {}, {.max_depth = k_levels_max});
  if (error || !problem.is_object()) {
    return {k_exit_unavailable,
            "status " + std::to_string(answer.status) + " without a reason: is --api Fieldgate's API?"};
  }
  const auto* faults = problem.as_object().if_contains("errors");
  const std::string detail = text_at(problem, "detail");
  failure.text = text_at(problem, "title");
  if (faults != nullptr && faults->is_array() && !faults->as_array().empty()) {
    for (const auto& fault : faults->as_array()) {
      failure.text += "\n  " + text_at(fault, "pointer") + ": " + text_at(fault, "detail");
    }
  } else if (!detail.empty()) {
    failure.text += (failure.text.empty() ? "" : ": ") + detail;
  }
  if (const std::string name = text_at(problem, "parameter"); !name.empty() && !detail.starts_with(name + ":")) {
    failure.text += " (parameter " + name + ")";
  }
  if (!answer.retry_after.empty()) failure.text += "; try again in " + printable(answer.retry_after) + " s";
  if (answer.status == 401) failure.text += "; --token-file FILE or FIELDGATE_API_TOKEN gives one";
  return failure;
}

}  // namespace

ApiResult<ApiAnswer> DeviceClient::exchange(const ApiRequest& request) {
  auto answer = transport_->exchange(request);
  if (!answer) {
    const bool ours = answer.error().code == make_error_code(Errc::invalid_argument);  // what was to be sent
    return ApiFailure{ours ? k_exit_no_input : k_exit_unavailable, printable(answer.error().detail)};
  }
  if (answer->status < 200 || answer->status >= 300) return failure_of(*answer);
  return std::move(*answer);
}

ApiResult<ApiReply> DeviceClient::call(const ApiRequest& request) {
  auto answer = exchange(request);
  if (!answer) return answer.error();
  if (answer->body.empty()) return ApiReply{};
  auto value = read_json(answer->body);
  if (!value) return value.error();
  return ApiReply{std::move(answer->body), std::move(*value)};
}

ApiResult<void> DeviceClient::stream(const ApiRequest& request) {
  const auto answer = exchange(request);
  if (!answer) return answer.error();
  return {};
}

ApiResult<void> DeviceClient::pages(const std::string& target, const std::function<bool(const ApiReply&)>& take) {
  std::string cursor;
  while (true) {
    ApiRequest request;
    request.target = target;
    if (!cursor.empty()) {
      request.target += (target.find('?') == std::string::npos ? "?cursor=" : "&cursor=") + percent_encoded(cursor);
    }
    const auto page = call(request);
    if (!page) return page.error();
    if (!take(*page)) return {};
    std::string next = text_at(page->value, "next_cursor");
    if (next.empty()) return {};
    if (next == cursor) return ApiFailure{k_exit_unavailable, "the list does not go on: its cursor stays the same"};
    cursor = std::move(next);
  }
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view k_hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      out += c;
    } else {
      out += {'%', k_hex[byte >> 4U], k_hex[byte & 15U]};
    }
  }
  return out;
}

std::string query_of(const std::vector<std::pair<std::string, std::string>>& parameters) {
  std::string out;
  for (const auto& [name, value] : parameters) {
    out += (out.empty() ? "?" : "&") + percent_encoded(name) + "=" + percent_encoded(value);
  }
  return out;
}

}  // namespace fieldgate
