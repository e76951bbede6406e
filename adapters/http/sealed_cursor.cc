// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/sealed_cursor.h"

#include "adapters/jwt/base64url.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <stdexcept>

namespace fieldgate::http {

CursorSeal::CursorSeal() {
  // Start-up only; without randomness nothing here can be trusted.
  if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1)
    throw std::runtime_error("no random bytes to be had");
}

CursorSeal::Mac CursorSeal::mac(std::string_view bytes) const {
  Mac out{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(bytes.data()),
       bytes.size(), out.data(), &size);
  return out;
}

std::string CursorSeal::seal(const CursorPosition& position, std::uint64_t fingerprint) const {
  std::string bytes = encode_cursor(position, fingerprint);
  const Mac tag = mac(bytes);
  bytes.append(reinterpret_cast<const char*>(tag.data()), tag.size());
  return jwt::to_base64url(bytes);
}

Result<CursorPosition> CursorSeal::open(std::string_view text, std::uint64_t fingerprint) const {
  const std::optional<std::string> bytes = jwt::from_base64url(text);
  if (!bytes || bytes->size() <= sizeof(Mac)) return make_error(Errc::malformed, "not a cursor of this gateway");
  const std::string_view position = std::string_view(*bytes).substr(0, bytes->size() - sizeof(Mac));
  const Mac tag = mac(position);
  if (CRYPTO_memcmp(tag.data(), bytes->data() + position.size(), tag.size()) != 0) {
    return make_error(Errc::malformed, "not a cursor of this gateway, or one from before its last start");
  }
  return decode_cursor(position, fingerprint);
}

}  // namespace fieldgate::http
