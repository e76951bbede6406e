// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/jws.h"

#include "adapters/jwt/base64url.h"
#include "adapters/jwt/json_object.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace fieldgate::jwt {
namespace {

constexpr std::size_t k_p256_number_bytes = 32;
constexpr std::size_t k_shown_bytes_max = 64;

struct Free {
  void operator()(EVP_MD_CTX* p) const noexcept { EVP_MD_CTX_free(p); }
  void operator()(ECDSA_SIG* p) const noexcept { ECDSA_SIG_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

struct Parts {
  std::string_view header;
  std::string_view payload;
  std::string_view signature;
  std::string_view signed_text;  // header, dot, payload
};

std::optional<Parts> split(std::string_view token) {
  const std::size_t first = token.find('.');
  const std::size_t second = token.find('.', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  Parts parts{token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1),
              token.substr(0, second)};
  if (parts.header.empty() || parts.signature.find('.') != std::string_view::npos) return std::nullopt;
  return parts;
}

std::string shown(std::string_view text) {
  std::string out(text.substr(0, k_shown_bytes_max));
  std::ranges::replace_if(
      out, [](char c) { return c < 0x20 || c > 0x7E; }, '?');
  return "'" + out + (text.size() > k_shown_bytes_max ? "...'" : "'");
}

Result<const Key*> key_for(const JsonObject& header, const Keys& keys) {
  if (header.has("crit")) {
    return make_error(Errc::unauthenticated, "the header asks for extensions (crit), and none is supported");
  }
  const std::string* algorithm = header.text("alg");
  if (algorithm == nullptr) return make_error(Errc::malformed, "the header names no algorithm (alg)");
  const Key* key = nullptr;
  if (header.has("kid")) {
    const std::string* id = header.text("kid");
    if (id == nullptr) return make_error(Errc::malformed, "the header's kid is not a text");
    key = keys.with_id(*id);
    if (key == nullptr) return make_error(Errc::unauthenticated, "no key has the id " + shown(*id) + " (kid)");
  } else {
    key = keys.without_id();
    if (key == nullptr) {
      return make_error(Errc::unauthenticated, "the header has no kid, and there is no key for tokens without one");
    }
  }
  if (*algorithm != to_string(key->algorithm)) {
    return make_error(Errc::unauthenticated, "the algorithm (alg) is " + shown(*algorithm) + ", and its key is for " +
                                                 std::string(to_string(key->algorithm)) + " alone");
  }
  return key;
}

// As OpenSSL wants an ES256 signature, which in a JWS is r and s one after the other
// (RFC 7518 section 3.4); empty: not of that form.
std::string to_der(std::string_view raw) {
  if (raw.size() != 2 * k_p256_number_bytes) return {};
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  const Owned<ECDSA_SIG> pair(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(bytes, k_p256_number_bytes, nullptr);
  BIGNUM* s = BN_bin2bn(bytes + k_p256_number_bytes, k_p256_number_bytes, nullptr);
  if (!pair || ECDSA_SIG_set0(pair.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return {};
  }
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &der);
  if (size <= 0) return {};
  std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return out;
}

bool holds(const Key& key, std::string_view text, std::string_view signature) {
  const std::string der = key.algorithm == JwtAlgorithm::es256 ? to_der(signature) : std::string();
  const std::string_view wanted = key.algorithm == JwtAlgorithm::es256 ? std::string_view(der) : signature;
  const EVP_MD* digest = key.algorithm == JwtAlgorithm::eddsa ? nullptr : EVP_sha256();
  const Owned<EVP_MD_CTX> check(EVP_MD_CTX_new());
  const bool good = !wanted.empty() && check &&
                    EVP_DigestVerifyInit(check.get(), nullptr, digest, nullptr, key.key.get()) == 1 &&
                    EVP_DigestVerify(check.get(), reinterpret_cast<const unsigned char*>(wanted.data()), wanted.size(),
                                     reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
  // TLS on the same thread looks at the same queue.
  ERR_clear_error();
  return good;
}

}  // namespace

Result<Signed> verify_jws(std::string_view token, const Keys& keys) {
  if (token.size() > k_token_bytes_max) {
    return make_error(Errc::too_large, "larger than " + std::to_string(k_token_bytes_max) + " bytes");
  }
  const auto parts = split(token);
  if (!parts) return make_error(Errc::malformed, "is not three parts with dots between them");
  const auto header_json = from_base64url(parts->header);
  const auto signature = from_base64url(parts->signature);
  if (!header_json) return make_error(Errc::malformed, "the header is not base64url without padding");
  if (!signature) return make_error(Errc::malformed, "the signature is not base64url without padding");
  const auto header = JsonObject::parse(*header_json, {"alg", "kid", "crit"});
  if (!header) return make_error(Errc::malformed, "the header " + header.error().detail);
  const auto key = key_for(*header, keys);
  if (!key) return key.error();
  if (!holds(**key, parts->signed_text, *signature)) {
    return make_error(Errc::unauthenticated, "the signature is not that of its key");
  }
  auto payload = from_base64url(parts->payload);
  if (!payload) return make_error(Errc::malformed, "the payload is not base64url without padding");
  return Signed{std::move(*payload), *key};
}

}  // namespace fieldgate::jwt
