// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/json_body.h"

#include "adapters/http/json_repeats.h"
#include "adapters/http/json_writer.h"
#include "adapters/http/parameters.h"
#include "adapters/http/text.h"

#include <boost/json/parse.hpp>
#include <boost/json/parser.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace fieldgate::http {
namespace {

namespace json = boost::json;

std::string_view kind_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return "null";
    case json::kind::bool_: return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_: return "a number";
    case json::kind::string: return "a string";
    case json::kind::array: return "an array";
    case json::kind::object: return "an object";
  }
  return "something else";
}

std::string got(const json::value& value) { return ", not " + std::string(kind_of(value)); }

// Boost.JSON reads 1e999 as infinity, for which JSON has no word.
bool is_finite(const json::value& value) {
  if (const double* number = value.if_double()) return std::isfinite(*number);
  if (const json::array* items = value.if_array()) return std::all_of(items->begin(), items->end(), is_finite);
  const json::object* members = value.if_object();
  return members == nullptr ||
         std::all_of(members->begin(), members->end(), [](const auto& member) { return is_finite(member.value()); });
}

void write(const json::value& value, JsonWriter& out) {
  switch (value.kind()) {
    case json::kind::null: out.null(); return;
    case json::kind::bool_: out.value(value.get_bool()); return;
    case json::kind::int64: out.json(std::to_string(value.get_int64())); return;
    case json::kind::uint64: out.json(std::to_string(value.get_uint64())); return;
    case json::kind::double_: out.value(value.get_double()); return;
    case json::kind::string: out.value(std::string_view(value.get_string())); return;
    case json::kind::array:
      out.begin_array();
      for (const json::value& item : value.get_array()) write(item, out);
      out.end_array();
      return;
    case json::kind::object:
      out.begin_object();
      for (const auto& [key, item] : value.get_object()) {
        out.key(key);
        write(item, out);
      }
      out.end_object();
      return;
  }
}

}  // namespace

bool is_plain_text(std::string_view text) noexcept {
  if (!is_utf8(text)) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are c2 80 to c2 9f.
    const bool second_set = c == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c < 0x20 || c == 0x7f || second_set) return false;
  }
  return true;
}

std::optional<Response> refuse_media_type(const Request& request, bool patch) {
  const std::string* header = request.head.header("content-type");
  if (header == nullptr) return std::nullopt;
  const std::string type = to_lower(trim(std::string_view(*header).substr(0, header->find(';'))));
  if (type == "application/json" || (patch && type == "application/merge-patch+json")) return std::nullopt;
  Response response =
      make_problem(Problem::unsupported_media_type, request.id,
                   patch ? "send Content-Type: application/merge-patch+json" : "send Content-Type: application/json");
  response.headers.emplace_back(patch ? "Accept-Patch" : "Accept",
                                patch ? "application/merge-patch+json, application/json" : "application/json");
  return response;
}

Result<json::object> parse_object(std::string_view text) {
  json::parse_options options;
  options.max_depth = k_json_depth_max;
  json::parser parser({}, options);
  boost::system::error_code ec;
  const std::size_t used = parser.write_some(text.data(), text.size(), ec);
  if (!ec && text.substr(used).find_first_not_of(" \t\r\n") != std::string_view::npos) ec = json::error::extra_data;
  if (ec == json::error::incomplete) return make_error(Errc::malformed, "the JSON is cut short, or not there");
  if (ec == json::error::too_deep) {
    return make_error(Errc::malformed, "nested deeper than " + std::to_string(k_json_depth_max) + " levels");
  }
  if (ec) return make_error(Errc::malformed, "not JSON, at byte " + std::to_string(used) + ": " + ec.message());
  json::value value = parser.release();
  if (!value.is_object()) return make_error(Errc::malformed, "want a JSON object" + got(value));
  if (!is_finite(value)) return make_error(Errc::malformed, "a number is larger than a double can be");
  return std::move(value.get_object());
}

Result<json::object> parse_sent_object(std::string_view text) {
  auto object = parse_object(text);
  if (!object) return object;
  if (const auto twice = repeated_member(text, k_json_depth_max)) {
    return make_error(Errc::malformed, "the member " + *twice + " is there twice: send it once");
  }
  return object;
}

std::variant<json::object, Response> read_object(const Request& request, bool patch) {
  if (auto refusal = refuse_media_type(request, patch)) return std::move(*refusal);
  Result<json::object> object = parse_sent_object(request.body);
  if (object) return std::move(*object);
  return invalid_body(request.id, {{"", object.error().detail}});
}

Response invalid_body(std::string_view request_id, const BodyFaults& faults) {
  const BodyFault& first = faults.front();
  const std::string detail = first.pointer.empty() ? first.detail : first.pointer + ": " + first.detail;
  return make_problem(Problem::invalid_body, request_id, detail, {}, faults);
}

std::string compact(const json::value& value) {
  JsonWriter out;
  write(value, out);
  return std::move(out).take();
}

std::string pointer_step(std::string_view text) {
  std::string out = "/";
  for (const char c : text) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

const json::value* Members::take(std::string_view name) {
  taken_.push_back(name);
  return object_.if_contains(name);
}

void Members::fault(std::string_view name, std::string detail) {
  faults_.push_back({pointer_ + pointer_step(name), std::move(detail)});
}

void Members::fault_if_missing(std::string_view name, std::string_view want) {
  if (object_.if_contains(name) == nullptr) fault(name, "is missing: " + std::string(want));
}

std::optional<bool> Members::flag(std::string_view name) {
  const json::value* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  fault(name, "want true or false" + got(*value));
  return std::nullopt;
}

std::optional<std::string> Members::text(std::string_view name, std::size_t bytes_min, std::size_t bytes_max) {
  const json::value* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    fault(name, "want a string" + got(*value));
    return std::nullopt;
  }
  std::string out(std::string_view(value->get_string()));
  if (out.size() < bytes_min || out.size() > bytes_max) {
    fault(name, "want " + std::to_string(bytes_min) + " to " + std::to_string(bytes_max) + " bytes, not " +
                    std::to_string(out.size()));
    return std::nullopt;
  }
  if (!is_plain_text(out)) {
    fault(name, "want text without control characters");
    return std::nullopt;
  }
  return out;
}

std::optional<std::chrono::milliseconds> Members::duration(std::string_view name, std::chrono::milliseconds min,
                                                           std::chrono::milliseconds max) {
  const json::value* value = take(name);
  if (value == nullptr) return std::nullopt;
  std::optional<std::chrono::milliseconds> time;
  if (value->is_string()) time = parse_duration(std::string_view(value->get_string()));
  const double seconds = value->is_number() ? value->to_number<double>() : -1;
  if (seconds >= 0 && seconds <= 1e12) time = std::chrono::milliseconds(std::llround(seconds * 1e3));
  if (time && *time >= min && *time <= max) return time;
  fault(name, "want a duration such as \"500ms\", \"10s\", \"5m\", \"24h\" or \"7d\", or a number of seconds, from " +
                  std::to_string(min.count()) + "ms to " + std::to_string(max.count() / 1'000) + "s");
  return std::nullopt;
}

std::optional<std::int64_t> Members::time(std::string_view name) {
  const json::value* value = take(name);
  if (value == nullptr) return std::nullopt;
  std::optional<std::int64_t> time;
  if (value->is_string()) time = parse_rfc3339(std::string_view(value->get_string()));
  if (!time) fault(name, "want a time of RFC 3339, such as \"2026-03-01T10:00:00Z\"");
  return time;
}

void Members::finish() {
  for (const auto& [key, value] : object_) {
    const std::string_view name = key;
    if (std::find(taken_.begin(), taken_.end(), name) != taken_.end()) continue;
    fault(name.substr(0, 64), taken_.empty() ? "there are no members here"
                                             : "there is no such member; did you mean '" +
                                                   std::string(nearest(name.substr(0, 64), taken_)) + "'?");
  }
}

}  // namespace fieldgate::http
