// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"
#include "gateway/core/error.h"

#include <cstddef>
#include <string_view>

namespace fieldgate::http {

inline constexpr std::size_t k_header_fields_max = 100;

// Where the head ends that begins `bytes`: the position after its empty line; 0
// while it is incomplete. `searched` bytes hold no end, as an earlier call found.
// Errors: Errc::malformed as soon as it can be no request's head: a first byte
// that begins no method (a TLS client on a plain port), a line end that is not CRLF.
Result<std::size_t> find_head_end(std::string_view bytes, std::size_t searched);

// Reads a whole head, strictly, so that no two parties on the way can disagree
// where a request ends: RFC 9112 without what it tolerates for old peers.
//   - lines end in CRLF, no folded lines, no white space before a colon
//   - the target is in origin form, visible ASCII, without a fragment
//   - exactly one Host in HTTP/1.1, at most one in HTTP/1.0
//   - Transfer-Encoding, once: exactly `chunked`, not in HTTP/1.0, not beside a
//     Content-Length; Content-Length, once: digits
//   - once at most: Authorization, Origin, Expect (only 100-continue)
// Errors: Errc::malformed; Errc::too_large for more than k_header_fields_max fields.
Result<Head> parse_head(std::string_view head);

// Takes a target apart. Parameters are form-encoded: `+` is a space.
// Errors: Errc::malformed for an escape that is not %XX, and for decoded bytes
// that are control characters or not UTF-8.
Result<Target> parse_target(std::string_view target);

}  // namespace fieldgate::http
