// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/keys.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace fieldgate::jwt {
namespace {

constexpr int k_rsa_bits_min = 2'048;
constexpr int k_rsa_bits_max = 8'192;

struct Free {
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(X509* p) const noexcept { X509_free(p); }
  void operator()(EVP_PKEY_CTX* p) const noexcept { EVP_PKEY_CTX_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

Result<std::string> read_file(const std::string& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "rb"), std::fclose);
  std::string text;
  if (stream) {
    text.resize(Keys::k_file_bytes_max + 1);
    text.resize(std::fread(text.data(), 1, text.size(), stream.get()));
  }
  if (!stream || std::ferror(stream.get()) != 0) {
    return make_error(Errc::not_found,
                      file + ": cannot be read: " + std::strerror(errno) + "; check the path and its permissions");
  }
  if (text.size() > Keys::k_file_bytes_max) {
    return make_error(Errc::malformed, file + ": larger than 1 MiB: not a file of keys");
  }
  return text;
}

Result<Sha256> sha256_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return make_error(Errc::malformed, openssl_reason());
  Sha256 digest{};
  EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), nullptr, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  return digest;
}

}  // namespace

std::string_view to_string(JwtAlgorithm algorithm) noexcept {
  switch (algorithm) {
    case JwtAlgorithm::rs256: return "RS256";
    case JwtAlgorithm::es256: return "ES256";
    case JwtAlgorithm::eddsa: return "EdDSA";
  }
  return "";
}

std::string openssl_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason != nullptr ? reason : "OpenSSL does not say why";
}

std::string misfit(EVP_PKEY* key, JwtAlgorithm algorithm) {
  switch (algorithm) {
    case JwtAlgorithm::rs256: {
      if (EVP_PKEY_is_a(key, "RSA") != 1) return "RS256 needs an RSA key";
      const int bits = EVP_PKEY_get_bits(key);
      if (bits >= k_rsa_bits_min && bits <= k_rsa_bits_max) return {};
      return "has " + std::to_string(bits) + " bits, and RS256 needs 2048 to 8192 (RFC 7518 section 3.3)";
    }
    case JwtAlgorithm::es256: {
      std::array<char, 64> group{};
      if (EVP_PKEY_is_a(key, "EC") != 1) return "ES256 needs an EC key";
      EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr);
      if (std::string_view(group.data()) == "prime256v1") return {};
      return std::string("is on the curve ") + group.data() + ", and ES256 needs P-256 (RFC 7518 section 3.4)";
    }
    case JwtAlgorithm::eddsa: return EVP_PKEY_is_a(key, "ED25519") == 1 ? std::string() : "EdDSA needs an Ed25519 key";
  }
  return "no such algorithm";
}

Result<Keys> Keys::load(const JwtSettings& settings) {
  ERR_clear_error();
  Keys keys;
  for (const JwtKeySettings& one : settings.keys) {
    const auto pem = read_file(one.file);
    if (!pem) return pem.error();
    if (const auto added = keys.add_pem(*pem, one.file, one.id, one.algorithm); !added) return added.error();
  }
  if (!settings.jwks_file.empty()) {
    const auto json = read_file(settings.jwks_file);
    if (!json) return json.error();
    if (const auto added = keys.add_jwks(*json, settings.jwks_file); !added) return added.error();
  }
  return keys;
}

Result<void> Keys::add_pem(std::string_view pem, const std::string& file, std::string id, JwtAlgorithm algorithm) {
  if (pem.find("PRIVATE KEY-----") != std::string_view::npos) {
    return make_error(Errc::invalid_argument,
                      file +
                          ": holds a private key, which belongs to whoever signs and to nobody else; give the public "
                          "one (openssl pkey -in " +
                          file +
                          " -pubout -out public.pem), and replace the pair if "
                          "others could read this file");
  }
  const auto bio = [&] { return Owned<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); };
  std::shared_ptr<EVP_PKEY> key(PEM_read_bio_PUBKEY(bio().get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  if (!key) {
    ERR_clear_error();
    if (const Owned<X509> certificate(PEM_read_bio_X509(bio().get(), nullptr, nullptr, nullptr)); certificate) {
      key.reset(X509_get_pubkey(certificate.get()), EVP_PKEY_free);
    }
  }
  if (!key) {
    return make_error(Errc::malformed, file + ": holds no public key: " + openssl_reason() +
                                           "; it must be PEM, with a BEGIN PUBLIC KEY or BEGIN CERTIFICATE line");
  }
  const std::string label = id.empty() ? file : file + " (id '" + id + "')";
  return add(label, std::move(id), algorithm, std::move(key));
}

Result<void> Keys::add(const std::string& label, std::string id, JwtAlgorithm algorithm,
                       std::shared_ptr<EVP_PKEY> key) {
  if (const std::string problem = misfit(key.get(), algorithm); !problem.empty()) {
    ERR_clear_error();
    return make_error(Errc::malformed, label + ": " + problem);
  }
  const Owned<EVP_PKEY_CTX> check(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  if (!check || EVP_PKEY_public_check(check.get()) != 1) {
    return make_error(Errc::malformed, label + ": is not a sound public key: " + openssl_reason());
  }
  if (std::ranges::find(keys_, id, &Key::id) != keys_.end()) {
    return make_error(Errc::invalid_argument,
                      label + (id.empty() ? ": is the second key without an id, and one at most may have none"
                                          : ": another key has the same id; give each its own"));
  }
  if (keys_.size() == k_keys_max) {
    return make_error(Errc::invalid_argument, label + ": more than " + std::to_string(k_keys_max) + " keys");
  }
  const auto sha256 = sha256_of(key.get());
  if (!sha256) return make_error(Errc::malformed, label + ": " + sha256.error().detail);
  keys_.push_back({std::move(id), algorithm, std::move(key), *sha256});
  return {};
}

const Key* Keys::with_id(std::string_view id) const noexcept {
  if (id.empty()) return nullptr;
  const auto found = std::ranges::find(keys_, id, &Key::id);
  return found == keys_.end() ? nullptr : &*found;
}

const Key* Keys::without_id() const noexcept {
  const auto found = std::ranges::find(keys_, std::string_view(), &Key::id);
  if (found != keys_.end()) return &*found;
  return keys_.size() == 1 ? &keys_.front() : nullptr;
}

bool Keys::knows(const Sha256& key) const noexcept {
  return std::ranges::find(keys_, key, &Key::sha256) != keys_.end();
}

}  // namespace fieldgate::jwt
