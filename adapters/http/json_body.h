// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"
#include "adapters/http/problem.h"
#include "gateway/core/error.h"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// Reads bodies of requests: JSON (RFC 8259), at most k_json_depth_max deep.
namespace fieldgate::http {

inline constexpr std::size_t k_json_depth_max = 32;

using BodyFaults = std::vector<BodyFault>;

// Whether the body is of a type that is taken here: `application/json` or, where `patch`,
// application/merge-patch+json (RFC 7396) too; one without a type counts as that.
std::optional<Response> refuse_media_type(const Request& request, bool patch);

// The JSON object that `text` is. Errors: Errc::malformed, with the place and what is wrong.
Result<boost::json::object> parse_object(std::string_view text);

// The same of what somebody sends: besides, no object in it may have two members of one name.
Result<boost::json::object> parse_sent_object(std::string_view text);

// All of the above; the answer to give where it is neither.
std::variant<boost::json::object, Response> read_object(const Request& request, bool patch);

Response invalid_body(std::string_view request_id, const BodyFaults& faults);

// `value` in as few bytes as it takes; integers stay what they are.
std::string compact(const boost::json::value& value);

// `text` as a JSON Pointer's step (RFC 6901 section 3).
std::string pointer_step(std::string_view text);

// Takes the members of one object, one after the other, and writes down what is wrong
// with each. What nobody has taken in the end is refused by name.
// Borrows: the object and `faults`.
class Members {
 public:
  Members(const boost::json::object& object, BodyFaults& faults, std::string pointer = {})
      : object_(object), faults_(faults), pointer_(std::move(pointer)) {}

  // nullptr: it is not there.
  const boost::json::value* take(std::string_view name);
  std::optional<bool> flag(std::string_view name);
  // UTF-8 without control characters.
  std::optional<std::string> text(std::string_view name, std::size_t bytes_min, std::size_t bytes_max);
  // "10s", "500ms" and so on, or a number of seconds.
  std::optional<std::chrono::milliseconds> duration(std::string_view name, std::chrono::milliseconds min,
                                                    std::chrono::milliseconds max);
  // RFC 3339, as Unix milliseconds.
  std::optional<std::int64_t> time(std::string_view name);

  void fault(std::string_view name, std::string detail);
  void fault_if_missing(std::string_view name, std::string_view want);
  // Refuses the rest.
  void finish();

 private:
  const boost::json::object& object_;
  BodyFaults& faults_;
  const std::string pointer_;
  std::vector<std::string_view> taken_;
};

// Neither control characters nor anything but UTF-8.
bool is_plain_text(std::string_view text) noexcept;

}  // namespace fieldgate::http
