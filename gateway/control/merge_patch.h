// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

// JSON merge patch (RFC 7396) on JSON objects (RFC 8259).
namespace fieldgate::control {

inline constexpr std::size_t k_json_depth_max = 32;  // objects and arrays within each other

// `text` as an object. Of members with the same name the last one counts. Integers of 64
// bits stay as they are; other numbers become doubles.
// Errors: Errc::invalid_argument: not one JSON object in UTF-8, of more than
// k_json_depth_max levels, or with a number beyond all doubles; the detail says what.
Result<boost::json::object> parse_object(std::string_view text);
std::string to_text(const boost::json::object& object);

// RFC 7396, section 2. Neither is deeper than k_json_depth_max, so neither is the outcome.
void merge(boost::json::object& target, const boost::json::object& patch);

// The patch that makes `to` of `from`; empty if they are the same. nullopt: there is none,
// for `to` has a member that is null, which no patch can set.
std::optional<boost::json::object> difference(const boost::json::object& from, const boost::json::object& to);

}  // namespace fieldgate::control
