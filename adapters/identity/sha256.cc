// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/sha256.h"

#include "gateway/core/hex.h"

#include <openssl/evp.h>

#include <charconv>

namespace fieldgate {

Sha256 sha256_of(std::string_view text) {
  Sha256 hash{};
  EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return hash;
}

std::string sha256_hex(std::string_view text) { return to_hex(sha256_of(text)); }

std::optional<Sha256> sha256_from_hex(std::string_view text) {
  Sha256 hash{};
  if (text.size() != 2 * hash.size()) return std::nullopt;
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, hash[i], 16).ptr != at + 2) return std::nullopt;
  }
  return hash;
}

}  // namespace fieldgate
