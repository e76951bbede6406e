// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fieldgate::http {

// The first member of an object in `text` whose name that object had before, as a JSON Pointer
// (RFC 6901); nullopt: there is none, as far as `text` is JSON. RFC 8259 section 4 leaves open
// which of the two counts, so somebody who sends both is asked what is meant.
// Bounds: as deep as `depth_max`.
std::optional<std::string> repeated_member(std::string_view text, std::size_t depth_max);

}  // namespace fieldgate::http
