// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_channel.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <array>
#include <new>

// What is kept of the handshake while the peer stays connected: of its certificates, and
// what that is good for, judging the peer anew when the trust changes; of the rest, as
// little as OpenSSL allows.
namespace fieldgate {
namespace {

struct Free {
  void operator()(X509* p) const noexcept { X509_free(p); }
  void operator()(STACK_OF(X509) * p) const noexcept { sk_X509_pop_free(p, X509_free); }
  void operator()(X509_STORE_CTX* p) const noexcept { X509_STORE_CTX_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// The DER of the leaf, then of what was sent along; hangs on the SSL.
using ShownCertificates = std::string;

void free_shown(void*, void* shown, CRYPTO_EX_DATA*, int, long, void*) noexcept {
  delete static_cast<ShownCertificates*>(shown);
}

int shown_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_shown);
  if (index < 0) throw std::bad_alloc();
  return index;
}

const ShownCertificates* shown_on(const SSL* ssl) {
  return static_cast<const ShownCertificates*>(SSL_get_ex_data(ssl, shown_index()));
}

void append_der(X509* certificate, ShownCertificates& out) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size < 0) throw std::bad_alloc();  // what was decoded can be encoded
  out.append(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
}

// A public key that stands where the peer's was; the same object for all. It is one that no provider has made: such a
// key X509_set_pubkey() would write down and read again, which costs a seventh of a handshake.
EVP_PKEY* placeholder_key() {
  static EVP_PKEY* const key = [] {
    constexpr std::array<unsigned char, 8> three{0x30, 6, 2, 1, 3, 2, 1, 3};  // RSAPublicKey (RFC 8017 A.1.1)
    const unsigned char* at = three.data();
    return d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, three.size());
  }();
  if (key == nullptr) throw std::bad_alloc();
  return key;
}

// OpenSSL has no call to drop the peer's certificate from a live connection, but
// none of its parts is needed once the handshake is done and the ticket sealed.
void hollow_out(X509* certificate) {
  X509_set_pubkey(certificate, placeholder_key());
  if (X509_NAME* none = X509_NAME_new(); none != nullptr) {
    X509_set_subject_name(certificate, none);
    X509_set_issuer_name(certificate, none);
    X509_NAME_free(none);
  }
  while (X509_get_ext_count(certificate) > 0) X509_EXTENSION_free(X509_delete_ext(certificate, 0));
  ERR_clear_error();
}

void empty(STACK_OF(X509) * certificates) {
  while (sk_X509_num(certificates) > 0) X509_free(sk_X509_pop(certificates));
}

// Frees, and wipes, what `key` consists of; an empty key of its type stays.
void empty(EVP_PKEY* key) {
  if (EVP_PKEY_set_type(key, EVP_PKEY_get_id(key)) != 1) ERR_clear_error();
}

// With the handshake done, OpenSSL has no use for the keys of the exchange (TLS 1.3) and
// the client's list of suites, yet holds them as long as the connection lives.
void forget_exchange(SSL* ssl) {
  for (const int which : {SSL_CTRL_GET_TMP_KEY, SSL_CTRL_GET_PEER_TMP_KEY}) {
    EVP_PKEY* key = nullptr;
    if (SSL_ctrl(ssl, which, 0, &key) != 1) continue;
    empty(key);
    EVP_PKEY_free(key);
  }
  if (STACK_OF(SSL_CIPHER)* suites = SSL_get_client_ciphers(ssl); suites != nullptr) {
    sk_SSL_CIPHER_zero(suites);
    sk_SSL_CIPHER_reserve(suites, 0);
  }
}

bool verify(X509* leaf, STACK_OF(X509) * others, const TlsContext& context) {
  const Owned<X509_STORE_CTX> check(X509_STORE_CTX_new());
  if (!check || X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(context.native()), leaf, others) != 1) {
    return false;
  }
  // As the handshake does it: purpose, then this context's own parameters.
  X509_STORE_CTX_set_default(check.get(), "ssl_client");
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(check.get());
  X509_VERIFY_PARAM_set_auth_level(param, SSL_CTX_get_security_level(context.native()));
  X509_VERIFY_PARAM_set1(param, SSL_CTX_get0_param(context.native()));
  return X509_verify_cert(check.get()) == 1;
}

bool verify(const ShownCertificates& shown, const TlsContext& context) {
  const auto* at = reinterpret_cast<const unsigned char*>(shown.data());
  const auto* const end = at + shown.size();
  const Owned<X509> leaf(d2i_X509(nullptr, &at, end - at));
  const Owned<STACK_OF(X509)> others(sk_X509_new_null());
  if (!leaf || !others) return false;
  while (at != end) {
    Owned<X509> next(d2i_X509(nullptr, &at, end - at));
    if (!next || sk_X509_push(others.get(), next.get()) <= 0) return false;
    next.release();
  }
  return verify(leaf.get(), others.get(), context);
}

}  // namespace

bool TlsChannel::settled() const { return shown_on(ssl_) != nullptr; }

void TlsChannel::settle() {
  forget_exchange(ssl_);
  X509* leaf = SSL_get0_peer_certificate(ssl_);
  if (leaf == nullptr || settled()) return;
  auto shown = std::make_unique<ShownCertificates>();
  STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl_);  // on the server: without the leaf
  append_der(leaf, *shown);
  for (int i = 0; i < sk_X509_num(chain); ++i) append_der(sk_X509_value(chain, i), *shown);
  shown->shrink_to_fit();
  if (SSL_set_ex_data(ssl_, shown_index(), shown.get()) != 1) throw std::bad_alloc();
  shown.release();
  empty(chain);
  empty(SSL_get0_verified_chain(ssl_));
  hollow_out(leaf);
}

bool still_trusted(SSL* ssl, const TlsContext& context) {
  const int mode = SSL_CTX_get_verify_mode(context.native());
  X509* leaf = SSL_get0_peer_certificate(ssl);
  if (leaf == nullptr) return (mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) == 0;
  if ((mode & SSL_VERIFY_PEER) == 0) return false;
  const ShownCertificates* shown = shown_on(ssl);
  const bool trusted = shown != nullptr ? verify(*shown, context) : verify(leaf, SSL_get_peer_cert_chain(ssl), context);
  ERR_clear_error();
  return trusted;
}

}  // namespace fieldgate
