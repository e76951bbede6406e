// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::jwt {

// Signs tokens, for development and tests: in production whoever issues tokens does.
class Signer {
 public:
  // `pem`: a private key without a passphrase, of that algorithm. `file` names it in errors.
  // Errors: Errc::malformed.
  static Result<Signer> make(std::string_view pem, const std::string& file, JwtAlgorithm algorithm);

  // A JWS in compact serialization (RFC 7515 section 5.1). `id`: its `kid`; empty: none.
  // Errors: Errc::internal.
  Result<std::string> sign(std::string_view payload, std::string_view id) const;
  // The same with a header of the caller's own.
  Result<std::string> sign_as(std::string_view header_json, std::string_view payload) const;

 private:
  Signer(std::shared_ptr<EVP_PKEY> key, JwtAlgorithm algorithm) : key_(std::move(key)), algorithm_(algorithm) {}

  std::shared_ptr<EVP_PKEY> key_;
  JwtAlgorithm algorithm_;
};

}  // namespace fieldgate::jwt
