// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::test {

// A fresh pair of keys for JWTs.
// Errors: throws, so that the test fails.
struct JwtKeyPair {
  explicit JwtKeyPair(JwtAlgorithm of, int rsa_bits = 2'048);

  // The public key as a JWK, without braces; `alg` is left out where it is empty.
  std::string jwk(std::string_view id, std::string_view alg) const;
  // A compact JWS of `payload`, with `id` as kid (empty: none).
  std::string sign(std::string_view payload, std::string_view id) const;
  // With a header of one's own, which need not be true.
  std::string sign_as(std::string_view header, std::string_view payload) const;

  JwtAlgorithm algorithm;
  std::shared_ptr<EVP_PKEY> key;
  std::string private_pem;
  std::string public_pem;
};

// {"keys":[...]} of what jwk() gives.
std::string jwks(std::initializer_list<std::string> keys);

}  // namespace fieldgate::test
