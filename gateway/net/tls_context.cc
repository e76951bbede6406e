// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_context.h"

#include "gateway/core/tls_suites.h"
#include "gateway/net/tls_files.h"
#include "gateway/net/tls_revocation.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <string_view>
#include <vector>

namespace fieldgate {
namespace {

using namespace tls;

constexpr int k_chain_depth_max = 5;
constexpr long k_peer_certificates_bytes_max = 32 * 1024;
constexpr unsigned char k_session_id_context[] = "fieldgate-device";

Result<void> install_identity(SSL_CTX* ctx, const DeviceTlsSettings& settings, std::int64_t& not_after) {
  const auto chain = read_certificates("certificate_file", settings.certificate_file);
  if (!chain) return chain.error();
  const auto key = read_key(settings.key_file);
  if (!key) return key.error();

  const auto fail = [&](const std::string& what) {
    return file_error(Errc::invalid_argument, "certificate_file", settings.certificate_file, what);
  };
  for (std::size_t i = 0; i < chain->size(); ++i) {
    const std::int64_t end = unix_seconds(X509_get0_notAfter((*chain)[i].get()));
    if (i == 0) not_after = end;
    if (end < std::time(nullptr)) {
      return fail("certificate " + std::to_string(i + 1) + " expired at " + utc(end) + "; install a renewed one");
    }
  }
  X509* leaf = chain->front().get();
  if (X509_check_private_key(leaf, key->get()) != 1) {
    ERR_clear_error();
    return fail("the first certificate does not belong to the key in key_file " + settings.key_file +
                "; the leaf must come first, and both files must be of the same pair");
  }
  if (SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, key->get()) != 1) {
    return fail("cannot be used: " + openssl_reason());
  }
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(ctx, (*chain)[i].get()) != 1) {
      return fail("certificate " + std::to_string(i + 1) + " cannot be used: " + openssl_reason());
    }
  }
  return boost::system::in_place_value;
}

TrustFingerprint fingerprint(const Certificates& authorities, const RevocationLists& revoked, ClientCertificate mode) {
  std::vector<TrustFingerprint> each(authorities.size() + revoked.lists().size());
  std::size_t at = 0;
  for (const auto& authority : authorities) X509_digest(authority.get(), EVP_sha256(), each[at++].data(), nullptr);
  for (const auto& list : revoked.lists()) X509_CRL_digest(list.get(), EVP_sha256(), each[at++].data(), nullptr);
  std::ranges::sort(each);
  std::string all(1, static_cast<char>(mode));
  for (const auto& one : each) all.append(reinterpret_cast<const char*>(one.data()), one.size());
  TrustFingerprint whole{};
  EVP_Digest(all.data(), all.size(), whole.data(), nullptr, EVP_sha256(), nullptr);
  return whole;
}

Result<TrustFingerprint> install_trust(SSL_CTX* ctx, const DeviceTlsSettings& settings, std::int64_t& crl_next_update) {
  if (settings.client_ca_file.empty()) {
    if (!settings.crl_file.empty()) {
      return make_error(Errc::invalid_argument,
                        "crl_file is set, but client_ca_file, whose authorities it is about, is not");
    }
    if (settings.client_certificate == ClientCertificate::required) {
      return make_error(Errc::invalid_argument,
                        "client_certificate is required, but client_ca_file, which says who may sign one, is not set");
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
    return fingerprint({}, {}, settings.client_certificate);
  }
  const auto authorities = read_certificates("client_ca_file", settings.client_ca_file);
  if (!authorities) return authorities.error();
  for (std::size_t i = 0; i < authorities->size(); ++i) {
    X509* authority = (*authorities)[i].get();
    const auto fail = [&](const std::string& what) {
      return file_error(Errc::invalid_argument, "client_ca_file", settings.client_ca_file,
                        "certificate " + std::to_string(i + 1) + " " + what);
    };
    if (X509_check_ca(authority) == 0) return fail("is not a CA certificate; list those who sign, not the devices");
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), authority) != 1 ||
        SSL_CTX_add_client_CA(ctx, authority) != 1) {
      return fail("cannot be used: " + openssl_reason());
    }
  }
  const auto revoked = RevocationLists::read(settings.crl_file, *authorities);
  if (!revoked) return revoked.error();
  if (const auto installed = revoked->install(SSL_CTX_get_cert_store(ctx)); !installed) return installed.error();
  crl_next_update = revoked->next_update_unix();
  const bool required = settings.client_certificate == ClientCertificate::required;
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  SSL_CTX_set_verify_depth(ctx, k_chain_depth_max);
  SSL_CTX_set_max_cert_list(ctx, k_peer_certificates_bytes_max);
  // An intermediate may be trusted by itself, without all that its root signs.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
  return fingerprint(*authorities, *revoked, settings.client_certificate);
}

// Resumption does not look at the client's certificate again: one that has
// expired since must go through a full handshake, and fail there.
SSL_TICKET_RETURN judge_ticket(SSL*, SSL_SESSION* session, const unsigned char*, std::size_t, SSL_TICKET_STATUS status,
                               void*) {
  if (status == SSL_TICKET_EMPTY || status == SSL_TICKET_NO_DECRYPT) return SSL_TICKET_RETURN_IGNORE_RENEW;
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_ABORT;
  const X509* certificate = SSL_SESSION_get0_peer(session);
  if (certificate != nullptr && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

Result<TicketKeys> install_tickets(SSL_CTX* ctx, const DeviceTlsSettings& settings, const TrustFingerprint& trust,
                                   const TicketKeys* carry_over) {
  TicketKeys keys;
  if (carry_over != nullptr && carry_over->trust == trust) {
    keys = *carry_over;
  } else {
    keys.trust = trust;
    if (RAND_priv_bytes(keys.bytes.data(), static_cast<int>(keys.bytes.size())) != 1) {
      return make_error(Errc::unavailable, "no random numbers for ticket keys: " + openssl_reason());
    }
  }
  if (!settings.resumption) SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(ctx, settings.resumption ? 1 : 0);
  if (SSL_CTX_set_tlsext_ticket_keys(ctx, keys.bytes.data(), static_cast<long>(keys.bytes.size())) != 1 ||
      SSL_CTX_set_session_ticket_cb(ctx, nullptr, judge_ticket, nullptr) != 1) {
    return make_error(Errc::internal, "session tickets cannot be set up: " + openssl_reason());
  }
  return keys;
}

Result<void> install_policy(SSL_CTX* ctx) {
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(ctx, 1);  // header and body of a record at once
  if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, k_tls12_suites) != 1 ||
      SSL_CTX_set_ciphersuites(ctx, k_tls13_suites) != 1 || SSL_CTX_set1_groups_list(ctx, k_tls_groups) != 1 ||
      SSL_CTX_set_session_id_context(ctx, k_session_id_context, sizeof(k_session_id_context) - 1) != 1) {
    return make_error(Errc::internal, "TLS cannot be set up: " + openssl_reason());
  }
  return boost::system::in_place_value;
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const DeviceTlsSettings& settings,
                                                           const TicketKeys* carry_over) {
  ERR_clear_error();
  SSL_CTX* ctx = SSL_CTX_new(TLS_server_method());
  if (ctx == nullptr) return make_error(Errc::internal, "TLS cannot be set up: " + openssl_reason());
  const std::shared_ptr<TlsContext> made(new TlsContext(ctx));

  if (const auto policy = install_policy(ctx); !policy) return policy.error();
  if (const auto identity = install_identity(ctx, settings, made->not_after_unix_); !identity) return identity.error();
  const auto trust = install_trust(ctx, settings, made->crl_next_update_unix_);
  if (!trust) return trust.error();
  const auto keys = install_tickets(ctx, settings, *trust, carry_over);
  if (!keys) return keys.error();
  made->keys_ = *keys;
  return std::shared_ptr<const TlsContext>(made);
}

TlsContext::~TlsContext() {
  SSL_CTX_free(ctx_);
  OPENSSL_cleanse(keys_.bytes.data(), keys_.bytes.size());
}

std::shared_ptr<const TlsContext> TlsContextHolder::current() const {
  const MutexLock lock(mutex_);
  return current_;
}

Result<bool> TlsContextHolder::rotate(const DeviceTlsSettings& settings) {
  const auto before = current();
  auto next = TlsContext::load(settings, &before->ticket_keys());
  if (!next) return next.error();
  const bool trust_changed = (*next)->trust() != before->trust();
  const MutexLock lock(mutex_);
  current_ = std::move(*next);
  return trust_changed;
}

}  // namespace fieldgate
