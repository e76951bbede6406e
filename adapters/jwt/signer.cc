// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/signer.h"

#include "adapters/jwt/base64url.h"
#include "adapters/jwt/keys.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <utility>

namespace fieldgate::jwt {
namespace {

constexpr int k_p256_number_bytes = 32;

struct Free {
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(EVP_MD_CTX* p) const noexcept { EVP_MD_CTX_free(p); }
  void operator()(ECDSA_SIG* p) const noexcept { ECDSA_SIG_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

int no_passphrase(char*, int, int, void*) { return -1; }

// r and s one after the other (RFC 7518 section 3.4); empty: not an ECDSA signature.
std::string from_der(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const Owned<ECDSA_SIG> pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!pair) return {};
  std::string raw(2 * k_p256_number_bytes, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  if (BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), out, k_p256_number_bytes) != k_p256_number_bytes ||
      BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), out + k_p256_number_bytes, k_p256_number_bytes) !=
          k_p256_number_bytes) {
    return {};
  }
  return raw;
}

}  // namespace

Result<Signer> Signer::make(std::string_view pem, const std::string& file, JwtAlgorithm algorithm) {
  ERR_clear_error();
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::shared_ptr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr), EVP_PKEY_free);
  if (!key) {
    return make_error(Errc::malformed, file + ": holds no PEM private key without a passphrase: " + openssl_reason() +
                                           "; openssl genpkey makes one");
  }
  if (const std::string problem = misfit(key.get(), algorithm); !problem.empty()) {
    return make_error(Errc::malformed, file + ": " + problem);
  }
  return Signer(std::move(key), algorithm);
}

Result<std::string> Signer::sign(std::string_view payload, std::string_view id) const {
  boost::json::object header{{"alg", to_string(algorithm_)}, {"typ", "JWT"}};
  if (!id.empty()) header["kid"] = id;
  return sign_as(boost::json::serialize(header), payload);
}

Result<std::string> Signer::sign_as(std::string_view header_json, std::string_view payload) const {
  std::string token = to_base64url(header_json) + "." + to_base64url(payload);
  const auto* text = reinterpret_cast<const unsigned char*>(token.data());
  const EVP_MD* digest = algorithm_ == JwtAlgorithm::eddsa ? nullptr : EVP_sha256();
  const Owned<EVP_MD_CTX> maker(EVP_MD_CTX_new());
  std::size_t size = 0;
  std::string signature;
  bool good = maker && EVP_DigestSignInit(maker.get(), nullptr, digest, nullptr, key_.get()) == 1 &&
              EVP_DigestSign(maker.get(), nullptr, &size, text, token.size()) == 1;
  if (good) {
    signature.resize(size);
    good =
        EVP_DigestSign(maker.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, text, token.size()) == 1;
    signature.resize(size);
  }
  if (good && algorithm_ == JwtAlgorithm::es256) signature = from_der(signature);
  if (!good || signature.empty()) return make_error(Errc::internal, "cannot be signed: " + openssl_reason());
  return token + "." + to_base64url(signature);
}

}  // namespace fieldgate::jwt
