// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"

#include <cstdint>
#include <optional>
#include <string>

namespace fieldgate::http {

// What a change is bound to (RFC 9110 section 13.1): If-Match with one strong entity tag
// or `*`, or If-None-Match with `*`.
struct Conditions {
  bool must_be_new = false;               // If-None-Match: *
  bool must_exist = false;                // If-Match: *
  std::optional<std::uint64_t> expected;  // the number in the entity tag
  // A tag that this gateway never gives: the condition cannot hold.
  bool cannot_hold = false;
  std::string fault;  // of a header that cannot be read; empty: none
};

// Tags are of the form "xN": `letter` and a number.
Conditions read_conditions(const Head& head, char letter);

}  // namespace fieldgate::http
