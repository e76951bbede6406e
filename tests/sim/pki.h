// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

// A development PKI: one authority, a server certificate, and a certificate for
// every device. All devices share one private key, because making thousands of
// keys proves nothing about a gateway; never do that outside a simulation.
namespace fieldgate::sim {

struct X509Free {
  void operator()(X509* p) const noexcept { X509_free(p); }
};
struct KeyFree {
  void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
};
using Certificate = std::unique_ptr<X509, X509Free>;
using Key = std::unique_ptr<EVP_PKEY, KeyFree>;

struct Authority {
  Certificate certificate;
  Key key;
};

// EC P-256.
Key make_key();
Authority make_authority(std::string_view name);
// The same bytes come out for the same id and authority, but for the signature
// and the dates: the serial number is made from the id. SAN URI
// urn:fieldgate:device:ID, and the id as the CN where it fits (64 bytes).
Certificate issue_device(const Authority& authority, EVP_PKEY* key, std::string_view id);
// `names`: host names and IP addresses.
Certificate issue_server(const Authority& authority, EVP_PKEY* key, const std::vector<std::string>& names);

Outcome<Authority> load_authority(const std::string& certificate_file, const std::string& key_file);
Outcome<Key> load_key(const std::string& file);
Outcome<void> save_certificate(const std::string& file, X509* certificate);
// Mode 0600.
Outcome<void> save_key(const std::string& file, EVP_PKEY* key);

// The files of a PKI directory.
struct PkiFiles {
  explicit PkiFiles(std::string directory) : dir(std::move(directory)) {}
  std::string dir;
  std::string ca() const { return dir + "/ca.pem"; }
  std::string ca_key() const { return dir + "/ca-key.pem"; }
  std::string server() const { return dir + "/server.pem"; }
  std::string server_key() const { return dir + "/server-key.pem"; }
  std::string device_key() const { return dir + "/device-key.pem"; }
  std::string device(std::string_view id) const { return dir + "/devices/" + std::string(id) + ".pem"; }
};

// Makes what is missing: an authority that is there already is kept, and so is a
// server certificate.
Outcome<void> write_pki(const PkiFiles& files, const std::vector<std::string>& server_names,
                        const std::vector<std::string>& device_ids);

}  // namespace fieldgate::sim
