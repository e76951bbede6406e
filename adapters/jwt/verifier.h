// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/jwt/jws.h"
#include "adapters/jwt/keys.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/ports/authenticator.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::jwt {

// What a token that is believed says (RFC 7519 section 4.1).
struct Claims {
  std::string subject;  // 1 to 256 bytes without control characters
  std::string issuer;   // empty: not said
  std::string scope;    // RFC 8693 section 4.2; empty: not said
  std::string id;       // jti; empty: not said
  // From when on it is refused: `exp` and the clock skew.
  std::int64_t expires_unix_ms = 0;
  Sha256 key_sha256{};  // Key::sha256
};

// Whose JSON Web Tokens are believed, and which of them.
// Thread: immutable; any.
class Verifier {
 public:
  static constexpr std::size_t k_subject_bytes_max = 256;

  // Precondition: `settings` has an audience.
  Verifier(Keys keys, JwtSettings settings) : keys_(std::move(keys)), settings_(std::move(settings)) {}

  // Reads the keys. `place` names the settings in errors, as in "tokens.jwt". Blocks on disk.
  // Errors: as Keys::load(); Errc::invalid_argument without an audience.
  static Result<std::shared_ptr<const Verifier>> load(const JwtSettings& settings, std::string_view place);

  // Whether `token` has the outer form of a JWT: no other token of ours has dots.
  static bool looks_like_one(std::string_view token) noexcept;

  // `sub`, `exp` and the audience must be there, `iss` where the settings name one;
  // `nbf` and `iat` count where they are. Times are held against `now_unix_ms` give
  // or take the clock skew.
  // Errors: Errc::unauthenticated; the detail, for the log, says what is wrong.
  Result<Claims> verify(std::string_view token, std::int64_t now_unix_ms) const;

  // Whether the key that Claims::key_sha256 stands for is still among the keys.
  bool knows_key(const Sha256& key) const noexcept { return keys_.knows(key); }
  std::size_t keys() const noexcept { return keys_.size(); }

 private:
  Result<Claims> read(const Signed& token, std::int64_t now_unix_ms) const;

  Keys keys_;
  JwtSettings settings_;
};

}  // namespace fieldgate::jwt
