// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/token_table.h"
#include "adapters/jwt/verifier.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace fieldgate::http {

// Who may use the API, and for what: by the token file, by JWTs, or by both.
//
// A JWT's `sub` is the holder's name; of the words of its `scope` (RFC 8693 section
// 4.2) the widest of read, command and admin counts, each also as in
// "fieldgate:read", and words of others are passed over.
// Thread: immutable; any.
class Access {
 public:
  explicit Access(TokenTable tokens, std::shared_ptr<const jwt::Verifier> jwts = nullptr);

  // Reads the token file and the keys that `settings` names. Blocks on disk.
  // Errors: as TokenTable::load() and jwt::Verifier::load(); Errc::invalid_argument
  // where neither is there.
  static Result<std::shared_ptr<const Access>> load(const ApiSettings& settings);

  // Who presents `token`, at that time.
  // Errors: Errc::unauthenticated; the detail is for the log, not for the caller.
  Result<TokenHolder> identify(std::string_view token, std::int64_t now_unix_ms) const;

 private:
  TokenTable tokens_;                          // empty: none
  std::shared_ptr<const jwt::Verifier> jwts_;  // nullptr: none are taken
};

}  // namespace fieldgate::http
