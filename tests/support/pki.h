// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::test {

// A certificate and its key, PEM. `certificate` is the leaf, followed by the
// intermediates if its authority is one.
struct Identity {
  std::string certificate;
  std::string key;
};

struct LeafOptions {
  std::vector<std::string> common_names;  // may hold any bytes, NUL too
  std::vector<std::string> san_uris;      // the same
  std::vector<std::string> san_dns;
  std::vector<std::string> san_ips;
  bool server = false;                     // extended key usage: serverAuth, else clientAuth
  std::chrono::seconds not_before{-3600};  // from now
  std::chrono::seconds not_after{86400};
};

struct RevocationOptions {
  std::vector<std::string> revoked{};       // certificates, PEM; of each the first counts
  std::chrono::seconds last_update{-3600};  // from now
  std::chrono::seconds next_update{86400};
  bool delta = false;
};

// A certificate authority with EC P-256 keys, for tests.
// Errors: throws, so that the test fails.
class Authority {
 public:
  // `key_usage`: its extension, in OpenSSL's words.
  explicit Authority(std::string_view name = "Fieldgate test CA",
                     const char* key_usage = "critical,keyCertSign,cRLSign");

  // An authority whose certificate is signed by this one.
  Authority intermediate(std::string_view name) const;

  // This authority's own certificate, PEM: what a client_ca_file holds.
  const std::string& certificate() const noexcept { return certificate_; }

  // A certificate revocation list, PEM.
  std::string revocation_list(const RevocationOptions& options) const;

  Identity issue(const LeafOptions& options) const;
  // Common name localhost; SAN localhost and 127.0.0.1.
  Identity server() const;
  // SAN URI urn:fieldgate:device:ID.
  Identity device(std::string_view id) const;

 private:
  struct Bare {};
  explicit Authority(Bare) {}

  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> x509_;
  std::string certificate_;
  std::string chain_;  // certificates to send below the root: empty for a root
};

// `pem` encrypted with `passphrase`.
std::string encrypted_key(std::string_view pem, std::string_view passphrase);

}  // namespace fieldgate::test
