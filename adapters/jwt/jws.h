// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/jwt/keys.h"
#include "gateway/core/error.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace fieldgate::jwt {

// A device's bearer token is held to less (k_bearer_token_bytes_max of
// gateway/net/upgrade.h), an API's to its header_bytes_max.
inline constexpr std::size_t k_token_bytes_max = 8'192;

// What somebody whose key is known has signed.
struct Signed {
  std::string payload;
  const Key* key = nullptr;  // of the Keys it was checked with
};

// Checks a JWS in compact serialization (RFC 7515 section 5.2). Of the header it
// believes nothing: `kid` only says which key to try, `alg` must be that key's own,
// a `crit` is refused, and whatever else is there (jwk, jku, x5c ...) is passed over.
// Cost: the header is read, then one signature checked; the payload is not looked at
// before it holds.
// Errors: Errc::too_large, Errc::malformed, Errc::unauthenticated. The detail is for
// the log: of what was sent it shows at most some printable bytes of `kid`.
Result<Signed> verify_jws(std::string_view token, const Keys& keys);

}  // namespace fieldgate::jwt
