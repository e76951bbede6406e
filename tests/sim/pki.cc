// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/pki.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

namespace fieldgate::sim {
namespace {

constexpr long k_days = 825;

struct FileClose {
  void operator()(std::FILE* f) const noexcept { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, FileClose>;

struct NamesFree {
  void operator()(GENERAL_NAMES* p) const noexcept { GENERAL_NAMES_free(p); }
};
using Names = std::unique_ptr<GENERAL_NAMES, NamesFree>;

// Positive, 63 bits, stable: FNV-1a over the name.
std::uint64_t serial_of(std::string_view name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const unsigned char c : name) hash = (hash ^ c) * 0x100000001b3ULL;
  return (hash >> 1) | 1;
}

void add_text_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void add_name(GENERAL_NAMES* names, int type, std::string_view text) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_IA5STRING* value = ASN1_IA5STRING_new();
  ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
  GENERAL_NAME_set0_value(name, type, value);
  sk_GENERAL_NAME_push(names, name);
}

void add_address(GENERAL_NAMES* names, const void* bytes, int size) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_OCTET_STRING* value = ASN1_OCTET_STRING_new();
  ASN1_OCTET_STRING_set(value, static_cast<const unsigned char*>(bytes), size);
  GENERAL_NAME_set0_value(name, GEN_IPADD, value);
  sk_GENERAL_NAME_push(names, name);
}

// Version 3, serial, dates, subject, issuer and public key; not signed.
Certificate begin(std::string_view common_name, std::uint64_t serial, X509* issuer, EVP_PKEY* key) {
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3'600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), k_days * 86'400);
  X509_set_pubkey(certificate.get(), key);
  if (!common_name.empty()) {
    X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.data()),
                               static_cast<int>(common_name.size()), -1, 0);
  }
  X509* named = issuer == nullptr ? certificate.get() : issuer;
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(named));
  return certificate;
}

Problem unreadable(const std::string& file) {
  ERR_clear_error();
  return Problem{"cannot read " + file};
}

}  // namespace

Key make_key() { return Key(EVP_EC_gen("P-256")); }

Authority make_authority(std::string_view name) {
  Key key = make_key();
  Certificate certificate = begin(name, serial_of(name), nullptr, key.get());
  add_text_extension(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_text_extension(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  add_text_extension(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash");
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  return {std::move(certificate), std::move(key)};
}

Certificate issue_device(const Authority& authority, EVP_PKEY* key, std::string_view id) {
  constexpr std::size_t k_common_name_max = 64;
  Certificate certificate =
      begin(id.size() <= k_common_name_max ? id : std::string_view(), serial_of(id), authority.certificate.get(), key);
  const Names names(GENERAL_NAMES_new());
  add_name(names.get(), GEN_URI, "urn:fieldgate:device:" + std::string(id));
  // Without a subject, the SAN has to be critical (RFC 5280 section 4.2.1.6).
  X509_add1_ext_i2d(certificate.get(), NID_subject_alt_name, names.get(), id.size() <= k_common_name_max ? 0 : 1, 0);
  add_text_extension(certificate.get(), authority.certificate.get(), NID_ext_key_usage, "clientAuth");
  X509_sign(certificate.get(), authority.key.get(), EVP_sha256());
  return certificate;
}

Certificate issue_server(const Authority& authority, EVP_PKEY* key, const std::vector<std::string>& names) {
  Certificate certificate = begin("fieldgate development server", serial_of("server") ^ read_clocks().wall_us,
                                  authority.certificate.get(), key);
  const Names list(GENERAL_NAMES_new());
  for (const std::string& name : names) {
    in6_addr six{};
    in_addr four{};
    if (inet_pton(AF_INET, name.c_str(), &four) == 1)
      add_address(list.get(), &four, sizeof four);
    else if (inet_pton(AF_INET6, name.c_str(), &six) == 1)
      add_address(list.get(), &six, sizeof six);
    else
      add_name(list.get(), GEN_DNS, name);
  }
  X509_add1_ext_i2d(certificate.get(), NID_subject_alt_name, list.get(), 0, 0);
  add_text_extension(certificate.get(), authority.certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_text_extension(certificate.get(), authority.certificate.get(), NID_ext_key_usage, "serverAuth");
  X509_sign(certificate.get(), authority.key.get(), EVP_sha256());
  return certificate;
}

Outcome<Key> load_key(const std::string& file) {
  const File in(std::fopen(file.c_str(), "re"));
  Key key(in ? PEM_read_PrivateKey(in.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!key) return unreadable(file);
  return key;
}

Outcome<Authority> load_authority(const std::string& certificate_file, const std::string& key_file) {
  const File in(std::fopen(certificate_file.c_str(), "re"));
  Certificate certificate(in ? PEM_read_X509(in.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) return unreadable(certificate_file);
  auto key = load_key(key_file);
  if (!key) return key.error();
  if (X509_check_private_key(certificate.get(), key->get()) != 1) {
    ERR_clear_error();
    return Problem{key_file + " is not the key of " + certificate_file};
  }
  return Authority{std::move(certificate), std::move(*key)};
}

Outcome<void> save_certificate(const std::string& file, X509* certificate) {
  const File out(std::fopen(file.c_str(), "we"));
  if (!out || PEM_write_X509(out.get(), certificate) != 1) return Problem{"cannot write " + file};
  return {};
}

Outcome<void> save_key(const std::string& file, EVP_PKEY* key) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const File out(fd < 0 ? nullptr : ::fdopen(fd, "w"));
  if (!out || PEM_write_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return Problem{"cannot write " + file};
  }
  return {};
}

Outcome<void> write_pki(const PkiFiles& files, const std::vector<std::string>& server_names,
                        const std::vector<std::string>& device_ids) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::create_directories(files.dir + "/devices", error);
  if (error) return Problem{"cannot make " + files.dir + "/devices: " + error.message()};
  if (!fs::exists(files.ca(), error)) {
    const Authority made = make_authority("fieldgate development CA");
    if (auto saved = save_key(files.ca_key(), made.key.get()); !saved) return saved;
    if (auto saved = save_certificate(files.ca(), made.certificate.get()); !saved) return saved;
  }
  const auto authority = load_authority(files.ca(), files.ca_key());
  if (!authority) return authority.error();
  if (!fs::exists(files.server(), error)) {
    const Key key = make_key();
    const Certificate certificate = issue_server(*authority, key.get(), server_names);
    if (auto saved = save_key(files.server_key(), key.get()); !saved) return saved;
    if (auto saved = save_certificate(files.server(), certificate.get()); !saved) return saved;
  }
  if (!fs::exists(files.device_key(), error)) {
    if (auto saved = save_key(files.device_key(), make_key().get()); !saved) return saved;
  }
  if (device_ids.empty()) return {};
  const auto key = load_key(files.device_key());
  if (!key) return key.error();
  for (const std::string& id : device_ids) {
    const Certificate certificate = issue_device(*authority, key->get(), id);
    if (auto saved = save_certificate(files.device(id), certificate.get()); !saved) return saved;
  }
  return {};
}

}  // namespace fieldgate::sim
