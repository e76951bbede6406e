// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/ports/authenticator.h"

#include <openssl/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::jwt {

// As in a JWS header: RS256, ES256 (RFC 7518 section 3.1) or EdDSA (RFC 8037).
std::string_view to_string(JwtAlgorithm algorithm) noexcept;

// A public key, good for one algorithm alone: what a token says of itself never
// chooses how it is checked (RFC 8725 section 3.1).
struct Key {
  std::string id;  // the tokens' `kid`; empty: of tokens without one
  JwtAlgorithm algorithm = JwtAlgorithm::es256;
  std::shared_ptr<EVP_PKEY> key;
  // Of its SubjectPublicKeyInfo (DER): the key itself, whatever its id.
  Sha256 sha256{};
};

// Whose signatures are believed.
// Thread: immutable once it is filled; any.
// Bounds: k_keys_max keys, RSA of 2048 to 8192 bits; files of k_file_bytes_max.
class Keys {
 public:
  static constexpr std::size_t k_keys_max = 256;
  static constexpr std::size_t k_file_bytes_max = 1'048'576;

  // The keys of the PEM files and of the JWKS file that `settings` names.
  // Errors: Errc::not_found: a file cannot be read; Errc::malformed: it holds no
  // key of that algorithm; Errc::invalid_argument: a private or symmetric key, an
  // algorithm that is missing or not supported, an id that comes twice. The detail
  // names file and key and says what to do.
  static Result<Keys> load(const JwtSettings& settings);

  // A SubjectPublicKeyInfo or a certificate. `file` names the text in errors.
  Result<void> add_pem(std::string_view pem, const std::string& file, std::string id, JwtAlgorithm algorithm);
  // RFC 7517 section 5. Keys whose `use` or `key_ops` say that they are not for
  // signatures are passed over.
  Result<void> add_jwks(std::string_view json, const std::string& file);

  // The key for a token with that `kid`; nullptr: there is none.
  const Key* with_id(std::string_view id) const noexcept;
  // For a token without `kid`: the key without an id, or else the only one there is.
  const Key* without_id() const noexcept;

  bool knows(const Sha256& key) const noexcept;
  std::size_t size() const noexcept { return keys_.size(); }

 private:
  // `label` names the key in errors, as in "jwks.json: key 2 (kid 'a')".
  Result<void> add(const std::string& label, std::string id, JwtAlgorithm algorithm, std::shared_ptr<EVP_PKEY> key);

  std::vector<Key> keys_;
};

// The public key that a JWK (RFC 7517 section 4; RFC 7518 section 6; RFC 8037
// section 2) of that algorithm describes.
// Errors: Errc::malformed.
struct JwkNumbers {
  std::string n, e;  // RSA, big-endian
  std::string x, y;  // of a point on the curve
};
Result<std::shared_ptr<EVP_PKEY>> public_key(JwtAlgorithm algorithm, const JwkNumbers& numbers);

// What keeps `key`, public or private, from being one of `algorithm`; empty: nothing.
std::string misfit(EVP_PKEY* key, JwtAlgorithm algorithm);

// What OpenSSL last complained of; its queue is empty afterwards.
std::string openssl_reason();

}  // namespace fieldgate::jwt
