// SPDX-License-Identifier: Apache-2.0
#include "tests/support/pki.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <stdexcept>

namespace fieldgate::test {
namespace {

void check(bool ok, const char* what) {
  if (ok) return;
  char reason[256];
  ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
  throw std::runtime_error(std::string(what) + ": " + reason);
}

std::shared_ptr<EVP_PKEY> make_key() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  check(key != nullptr, "EC key");
  return key;
}

template <class Write>
std::string to_pem(Write write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  check(bio != nullptr && write(bio.get()) == 1, "PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string to_pem(X509* certificate) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

std::string to_pem(EVP_PKEY* key) {
  return to_pem(
      [&](BIO* bio) { return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

void add_name(X509_NAME* name, std::string_view common_name) {
  check(
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(common_name.size()), -1, 0) == 1,
      "common name");
}

void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value), X509_EXTENSION_free);
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, value);
}

void add_san(GENERAL_NAMES* names, int type, std::string_view bytes) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_STRING* text = type == GEN_IPADD ? static_cast<ASN1_STRING*>(a2i_IPADDRESS(std::string(bytes).c_str()))
                                        : static_cast<ASN1_STRING*>(ASN1_IA5STRING_new());
  check(name != nullptr && text != nullptr, "subject alternative name");
  if (type != GEN_IPADD) {
    check(ASN1_STRING_set(text, bytes.data(), static_cast<int>(bytes.size())) == 1, "subject alternative name");
  }
  GENERAL_NAME_set0_value(name, type, text);
  check(sk_GENERAL_NAME_push(names, name) > 0, "subject alternative name");
}

std::shared_ptr<X509> make_certificate(EVP_PKEY* key, std::chrono::seconds not_before, std::chrono::seconds not_after) {
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  check(certificate != nullptr, "certificate");
  std::uint64_t serial = 0;
  check(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) == 1, "serial number");
  check(X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
            ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1) == 1 &&
            X509_gmtime_adj(X509_getm_notBefore(certificate.get()), not_before.count()) != nullptr &&
            X509_gmtime_adj(X509_getm_notAfter(certificate.get()), not_after.count()) != nullptr &&
            X509_set_pubkey(certificate.get(), key) == 1,
        "certificate");
  return certificate;
}

std::shared_ptr<X509> make_authority(EVP_PKEY* key, std::string_view name, X509* issuer, EVP_PKEY* issuer_key,
                                     const char* key_usage = "critical,keyCertSign,cRLSign") {
  auto certificate = make_certificate(key, std::chrono::hours(-1), std::chrono::hours(24 * 30));
  add_name(X509_get_subject_name(certificate.get()), name);
  X509* signer = issuer != nullptr ? issuer : certificate.get();
  check(X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer)) == 1, "issuer");
  add_extension(certificate.get(), signer, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate.get(), signer, NID_key_usage, key_usage);
  add_extension(certificate.get(), signer, NID_subject_key_identifier, "hash");
  check(X509_sign(certificate.get(), issuer_key, EVP_sha256()) > 0, "signature");
  return certificate;
}

}  // namespace

Authority::Authority(std::string_view name, const char* key_usage) : key_(make_key()) {
  x509_ = make_authority(key_.get(), name, nullptr, key_.get(), key_usage);
  certificate_ = to_pem(x509_.get());
}

Authority Authority::intermediate(std::string_view name) const {
  Authority made{Bare{}};
  made.key_ = make_key();
  made.x509_ = make_authority(made.key_.get(), name, x509_.get(), key_.get());
  made.certificate_ = to_pem(made.x509_.get());
  made.chain_ = made.certificate_ + chain_;
  return made;
}

std::string Authority::revocation_list(const RevocationOptions& options) const {
  const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), X509_CRL_free);
  const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> time(ASN1_TIME_new(), ASN1_TIME_free);
  const std::unique_ptr<ASN1_INTEGER, decltype(&ASN1_INTEGER_free)> number(ASN1_INTEGER_new(), ASN1_INTEGER_free);
  check(list && time && number && ASN1_INTEGER_set(number.get(), 1) == 1, "revocation list");
  check(X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) == 1 &&
            X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(x509_.get())) == 1 &&
            X509_gmtime_adj(time.get(), options.last_update.count()) != nullptr &&
            X509_CRL_set1_lastUpdate(list.get(), time.get()) == 1 &&
            X509_gmtime_adj(time.get(), options.next_update.count()) != nullptr &&
            X509_CRL_set1_nextUpdate(list.get(), time.get()) == 1 &&
            X509_CRL_add1_ext_i2d(list.get(), NID_crl_number, number.get(), 0, 0) == 1,
        "revocation list");
  if (options.delta) check(X509_CRL_add1_ext_i2d(list.get(), NID_delta_crl, number.get(), 1, 0) == 1, "delta");
  X509_gmtime_adj(time.get(), options.last_update.count());
  for (const std::string& pem : options.revoked) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                        BIO_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
    X509_REVOKED* entry = X509_REVOKED_new();
    check(certificate && X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get())) == 1 &&
              X509_REVOKED_set_revocationDate(entry, time.get()) == 1 && X509_CRL_add0_revoked(list.get(), entry) == 1,
          "revoked certificate");
  }
  check(X509_CRL_sort(list.get()) == 1 && X509_CRL_sign(list.get(), key_.get(), EVP_sha256()) > 0, "signature");
  return to_pem([&](BIO* bio) { return PEM_write_bio_X509_CRL(bio, list.get()); });
}

Identity Authority::issue(const LeafOptions& options) const {
  const auto key = make_key();
  const auto leaf = make_certificate(key.get(), options.not_before, options.not_after);
  for (const auto& name : options.common_names) add_name(X509_get_subject_name(leaf.get()), name);
  check(X509_set_issuer_name(leaf.get(), X509_get_subject_name(x509_.get())) == 1, "issuer");
  add_extension(leaf.get(), x509_.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf.get(), x509_.get(), NID_key_usage, "critical,digitalSignature");
  add_extension(leaf.get(), x509_.get(), NID_ext_key_usage, options.server ? "serverAuth" : "clientAuth");
  add_extension(leaf.get(), x509_.get(), NID_authority_key_identifier, "keyid");

  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(GENERAL_NAMES_new(), GENERAL_NAMES_free);
  check(names != nullptr, "subject alternative names");
  for (const auto& uri : options.san_uris) add_san(names.get(), GEN_URI, uri);
  for (const auto& dns : options.san_dns) add_san(names.get(), GEN_DNS, dns);
  for (const auto& ip : options.san_ips) add_san(names.get(), GEN_IPADD, ip);
  if (sk_GENERAL_NAME_num(names.get()) > 0) {
    const int critical = options.common_names.empty() ? 1 : 0;  // RFC 5280 section 4.2.1.6
    check(X509_add1_ext_i2d(leaf.get(), NID_subject_alt_name, names.get(), critical, X509V3_ADD_APPEND) == 1,
          "subject alternative names");
  }
  check(X509_sign(leaf.get(), key_.get(), EVP_sha256()) > 0, "signature");
  return {to_pem(leaf.get()) + chain_, to_pem(key.get())};
}

Identity Authority::server() const {
  LeafOptions options;
  options.common_names = {"localhost"};
  options.san_dns = {"localhost"};
  options.san_ips = {"127.0.0.1"};
  options.server = true;
  return issue(options);
}

Identity Authority::device(std::string_view id) const {
  LeafOptions options;
  options.san_uris = {"urn:fieldgate:device:" + std::string(id)};
  return issue(options);
}

std::string encrypted_key(std::string_view pem, std::string_view passphrase) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                      BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  check(key != nullptr, "private key");
  return to_pem([&](BIO* out) {
    return PEM_write_bio_PKCS8PrivateKey(out, key.get(), EVP_aes_128_cbc(), passphrase.data(),
                                         static_cast<int>(passphrase.size()), nullptr, nullptr);
  });
}

}  // namespace fieldgate::test
