// SPDX-License-Identifier: Apache-2.0
#include "tests/support/jwt_keys.h"

#include "adapters/jwt/base64url.h"
#include "adapters/jwt/signer.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <array>
#include <stdexcept>

namespace fieldgate::test {
namespace {

EVP_PKEY* make(JwtAlgorithm algorithm, int rsa_bits) {
  switch (algorithm) {
    case JwtAlgorithm::rs256: return EVP_RSA_gen(static_cast<unsigned>(rsa_bits));
    case JwtAlgorithm::es256: return EVP_EC_gen("P-256");
    case JwtAlgorithm::eddsa: return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  }
  return nullptr;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

std::string number(const EVP_PKEY* key, const char* name, int bytes) {
  BIGNUM* value = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &value) != 1) throw std::runtime_error(name);
  std::string text(static_cast<std::size_t>(bytes > 0 ? bytes : BN_num_bytes(value)), '\0');
  BN_bn2binpad(value, reinterpret_cast<unsigned char*>(text.data()), static_cast<int>(text.size()));
  BN_free(value);
  return jwt::to_base64url(text);
}

std::string member(std::string_view name, std::string_view value) {
  return ",\"" + std::string(name) + "\":\"" + std::string(value) + "\"";
}

jwt::Signer signer(const JwtKeyPair& pair) {
  auto made = jwt::Signer::make(pair.private_pem, "the test's key", pair.algorithm);
  if (!made) throw std::runtime_error(made.error().detail);
  return std::move(*made);
}

}  // namespace

JwtKeyPair::JwtKeyPair(JwtAlgorithm of, int rsa_bits) : algorithm(of), key(make(of, rsa_bits), EVP_PKEY_free) {
  BIO* secret = BIO_new(BIO_s_mem());
  BIO* open = BIO_new(BIO_s_mem());
  if (!key || PEM_write_bio_PKCS8PrivateKey(secret, key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_PUBKEY(open, key.get()) != 1) {
    throw std::runtime_error("no key pair can be made");
  }
  private_pem = text_of(secret);
  public_pem = text_of(open);
}

std::string JwtKeyPair::jwk(std::string_view id, std::string_view alg) const {
  std::string text;
  if (algorithm == JwtAlgorithm::rs256) {
    text = "\"kty\":\"RSA\"" + member("n", number(key.get(), OSSL_PKEY_PARAM_RSA_N, 0)) +
           member("e", number(key.get(), OSSL_PKEY_PARAM_RSA_E, 0));
  } else if (algorithm == JwtAlgorithm::es256) {
    text = "\"kty\":\"EC\",\"crv\":\"P-256\"" + member("x", number(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, 32)) +
           member("y", number(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, 32));
  } else {
    std::string raw(32, '\0');
    std::size_t size = raw.size();
    EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(raw.data()), &size);
    text = "\"kty\":\"OKP\",\"crv\":\"Ed25519\"" + member("x", jwt::to_base64url(raw));
  }
  if (!id.empty()) text += member("kid", id);
  if (!alg.empty()) text += member("alg", alg);
  return text;
}

std::string JwtKeyPair::sign(std::string_view payload, std::string_view id) const {
  return signer(*this).sign(payload, id).value();
}

std::string JwtKeyPair::sign_as(std::string_view header, std::string_view payload) const {
  return signer(*this).sign_as(header, payload).value();
}

std::string jwks(std::initializer_list<std::string> keys) {
  std::string text = "{\"keys\":[";
  for (const std::string& key : keys) text += (text.back() == '[' ? "{" : ",{") + key + "}";
  return text + "]}";
}

}  // namespace fieldgate::test
