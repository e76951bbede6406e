// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate {

// Where a list was left: after the entry with this sort key and this id.
struct CursorPosition {
  std::int64_t key = 0;  // 0 in a list sorted by id or by text
  std::string id;
  std::string text{};  // the sort key of a list sorted by text
  friend bool operator==(const CursorPosition&, const CursorPosition&) = default;
};

// A position as bytes, bound to the query it belongs to by its fingerprint. The
// bytes are neither secret nor protected: whoever hands them out must sign them.
std::string encode_cursor(const CursorPosition& position, std::uint64_t fingerprint);

// Errors: Errc::unsupported for another version, Errc::forbidden for another
// query's, Errc::malformed for anything that encode_cursor cannot have written.
Result<CursorPosition> decode_cursor(std::string_view bytes, std::uint64_t fingerprint);

}  // namespace fieldgate
