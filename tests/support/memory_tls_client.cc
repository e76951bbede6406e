// SPDX-License-Identifier: Apache-2.0
#include "tests/support/memory_tls_client.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <array>
#include <stdexcept>

namespace fieldgate::test {
namespace {

void check(bool ok, const char* what) {
  if (ok) return;
  ERR_clear_error();
  throw std::runtime_error(what);
}

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
Bio reader(std::string_view pem) { return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free}; }
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
Certificate read_certificate(BIO* bio) { return {PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), X509_free}; }

void use_identity(SSL_CTX* ctx, const Identity& identity) {
  const Bio certificates = reader(identity.certificate);
  check(SSL_CTX_use_certificate(ctx, read_certificate(certificates.get()).get()) == 1, "client certificate");
  while (const auto next = read_certificate(certificates.get())) {
    check(SSL_CTX_add1_chain_cert(ctx, next.get()) == 1, "client certificate chain");
  }
  ERR_clear_error();  // the end of the file
  const Bio key_bio = reader(identity.key);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  check(SSL_CTX_use_PrivateKey(ctx, key.get()) == 1, "client key");
}

}  // namespace

MemoryTlsClient::MemoryTlsClient(const Options& options)
    : ctx_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free), ssl_(nullptr, SSL_free) {
  check(ctx_ != nullptr, "SSL_CTX_new");
  if (!options.ca.empty()) {
    const Bio bio = reader(options.ca);
    check(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx_.get()), read_certificate(bio.get()).get()) == 1, "CA");
    SSL_CTX_set_verify(ctx_.get(), SSL_VERIFY_PEER, nullptr);
  }
  if (options.identity != nullptr) use_identity(ctx_.get(), *options.identity);
  check(SSL_CTX_set_min_proto_version(ctx_.get(), options.version_min) == 1, "minimum version");
  check(SSL_CTX_set_max_proto_version(ctx_.get(), options.version_max) == 1, "maximum version");
  if (!options.tls13_suites.empty()) {
    check(SSL_CTX_set_ciphersuites(ctx_.get(), options.tls13_suites.c_str()) == 1, "TLS 1.3 suites");
  }
  if (!options.tls12_suites.empty()) {
    check(SSL_CTX_set_cipher_list(ctx_.get(), options.tls12_suites.c_str()) == 1, "TLS 1.2 suites");
  }
  if (!options.groups.empty()) {
    check(SSL_CTX_set1_groups_list(ctx_.get(), options.groups.c_str()) == 1, "groups");
  }
  // Sends what the identity holds, not what could be found among the CAs.
  SSL_CTX_set_mode(ctx_.get(), SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(ctx_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx_.get(), [](SSL* ssl, SSL_SESSION* session) {
    static_cast<MemoryTlsClient*>(SSL_get_app_data(ssl))->session_.reset(session, SSL_SESSION_free);
    return 1;
  });

  ssl_.reset(SSL_new(ctx_.get()));
  check(ssl_ != nullptr, "SSL_new");
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  BIO_set_mem_eof_return(SSL_get_rbio(ssl_.get()), -1);
  SSL_set_connect_state(ssl_.get());
  if (options.resume) check(SSL_set_session(ssl_.get(), options.resume.get()) == 1, "session");
  go();
}

MemoryTlsClient::~MemoryTlsClient() = default;

void MemoryTlsClient::receive(std::string_view ciphertext) {
  if (!ciphertext.empty()) {
    check(BIO_write(SSL_get_rbio(ssl_.get()), ciphertext.data(), static_cast<int>(ciphertext.size())) ==
              static_cast<int>(ciphertext.size()),
          "memory BIO");
  }
  go();
}

void MemoryTlsClient::go() {
  if (!error_.empty()) return;
  ERR_clear_error();
  int result = SSL_do_handshake(ssl_.get());
  std::array<char, 16'384> buffer{};
  std::size_t size = 0;
  while (result == 1 && (result = SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &size)) == 1) {
    plaintext_.append(buffer.data(), size);
  }
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN) return;
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  error_ = reason != nullptr ? reason : "SSL error " + std::to_string(error);
  ERR_clear_error();
}

std::string MemoryTlsClient::take() {
  BIO* bio = SSL_get_wbio(ssl_.get());
  std::string out(BIO_ctrl_pending(bio), '\0');
  if (!out.empty()) check(BIO_read(bio, out.data(), static_cast<int>(out.size())) > 0, "memory BIO");
  return out;
}

void MemoryTlsClient::write(std::string_view plaintext) {
  std::size_t written = 0;
  check(SSL_write_ex(ssl_.get(), plaintext.data(), plaintext.size(), &written) == 1, "SSL_write_ex");
}

void MemoryTlsClient::close() { check(SSL_shutdown(ssl_.get()) >= 0, "SSL_shutdown"); }

bool MemoryTlsClient::established() const { return SSL_is_init_finished(ssl_.get()) == 1; }

bool MemoryTlsClient::closed() const { return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0; }

}  // namespace fieldgate::test
