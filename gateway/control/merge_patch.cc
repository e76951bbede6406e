// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/merge_patch.h"

#include <boost/json/parse_options.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/stream_parser.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace fieldgate::control {
namespace {

namespace json = boost::json;

// True if setting `value` by a patch gives `value`: no member of it is null, however
// deep, as far as objects reach (what is in an array is set as it is).
bool can_be_set(const json::value& value) {
  if (value.is_null()) return false;
  if (!value.is_object()) return true;
  return std::ranges::all_of(value.get_object(), [](const auto& member) { return can_be_set(member.value()); });
}

// Boost.JSON reads 1e999 as infinity, and would write it as what is no JSON.
bool is_finite(const json::value& value) {
  if (const double* number = value.if_double()) return std::isfinite(*number);
  if (const json::array* items = value.if_array()) return std::ranges::all_of(*items, is_finite);
  const json::object* members = value.if_object();
  return members == nullptr ||
         std::ranges::all_of(*members, [](const auto& member) { return is_finite(member.value()); });
}

}  // namespace

Result<json::object> parse_object(std::string_view text) {
  json::parse_options options;
  options.max_depth = k_json_depth_max;
  json::stream_parser parser({}, options);
  boost::system::error_code error;
  const std::size_t read = parser.write_some(text.data(), text.size(), error);
  if (!error && read == text.size()) parser.finish(error);
  if (!error && read < text.size()) error = json::error::extra_data;
  if (error) {
    return make_error(Errc::invalid_argument, "not JSON (RFC 8259) of at most " + std::to_string(k_json_depth_max) +
                                                  " levels: " + error.message() + ", at byte " + std::to_string(read));
  }
  json::value value = parser.release();
  if (!value.is_object()) return make_error(Errc::invalid_argument, "not a JSON object");
  if (!is_finite(value)) return make_error(Errc::invalid_argument, "a number is larger than a double can be");
  return std::move(value.get_object());
}

std::string to_text(const json::object& object) { return json::serialize(object); }

void merge(json::object& target, const json::object& patch) {
  for (const auto& member : patch) {
    if (member.value().is_null()) {
      target.erase(member.key());
    } else if (member.value().is_object()) {
      json::value& at = target[member.key()];
      if (!at.is_object()) at.emplace_object();
      merge(at.get_object(), member.value().get_object());
    } else {
      target.insert_or_assign(member.key(), member.value());
    }
  }
}

std::optional<json::object> difference(const json::object& from, const json::object& to) {
  json::object patch;
  for (const auto& member : from) {
    if (!to.contains(member.key())) patch.emplace(member.key(), nullptr);
  }
  for (const auto& member : to) {
    const json::value* before = from.if_contains(member.key());
    const json::value& after = member.value();
    if (before != nullptr && *before == after) continue;
    if (before != nullptr && before->is_object() && after.is_object()) {
      auto inner = difference(before->get_object(), after.get_object());
      if (!inner) return std::nullopt;
      patch.emplace(member.key(), std::move(*inner));
    } else {
      if (!can_be_set(after)) return std::nullopt;
      patch.emplace(member.key(), after);
    }
  }
  return patch;
}

}  // namespace fieldgate::control
