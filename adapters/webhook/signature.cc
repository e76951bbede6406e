// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/signature.h"

#include "gateway/core/hex.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <array>
#include <memory>
#include <new>

namespace fieldgate::webhook {
namespace {

struct Free {
  void operator()(EVP_MAC* p) const noexcept { EVP_MAC_free(p); }
  void operator()(EVP_MAC_CTX* p) const noexcept { EVP_MAC_CTX_free(p); }
};

const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

}  // namespace

std::string signature_of(std::string_view key, std::int64_t unix_seconds, std::string_view body) {
  const std::string stamp = std::to_string(unix_seconds) + ".";
  const std::unique_ptr<EVP_MAC, Free> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  const std::unique_ptr<EVP_MAC_CTX, Free> context(mac ? EVP_MAC_CTX_new(mac.get()) : nullptr);
  char digest_name[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
                                   OSSL_PARAM_construct_end()};
  std::array<unsigned char, 32> digest{};
  std::size_t size = 0;
  // Fails for want of memory alone.
  if (!context || EVP_MAC_init(context.get(), bytes(key), key.size(), parameters) != 1 ||
      EVP_MAC_update(context.get(), bytes(stamp), stamp.size()) != 1 ||
      EVP_MAC_update(context.get(), bytes(body), body.size()) != 1 ||
      EVP_MAC_final(context.get(), digest.data(), &size, digest.size()) != 1) {
    throw std::bad_alloc();
  }
  return "v1=" + to_hex(digest);
}

}  // namespace fieldgate::webhook
