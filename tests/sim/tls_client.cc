// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/tls_client.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fieldgate::sim {
namespace {

TlsSide& side_of(BIO* bio) noexcept { return *static_cast<TlsSide*>(BIO_get_data(bio)); }
TlsSide& side_of(SSL* ssl) noexcept { return *static_cast<TlsSide*>(SSL_get_app_data(ssl)); }

int bio_read(BIO* bio, char* data, int size) noexcept {
  BIO_clear_retry_flags(bio);
  TlsSide& io = side_of(bio);
  if (io.in.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t take = std::min(io.in.size(), static_cast<std::size_t>(size));
  std::memcpy(data, io.in.data(), take);
  io.in.remove_prefix(take);
  return static_cast<int>(take);
}

int bio_write(BIO* bio, const char* data, int size) noexcept {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = ::send(side_of(bio).fd, data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

long bio_ctrl(BIO*, int command, long, void*) noexcept { return command == BIO_CTRL_FLUSH ? 1 : 0; }

int keep_session(SSL* ssl, SSL_SESSION* session) noexcept {
  side_of(ssl).session.reset(session);
  return 1;  // the reference is ours now
}

bool is_address(const std::string& name) noexcept {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, name.c_str(), bytes) == 1 || inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

}  // namespace

// Called when the gateway has asked for a certificate: a connection that it
// resets before that costs no signature.
int TlsClient::give_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key) noexcept {
  const auto& self = *static_cast<const TlsClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  const TlsSide& side = side_of(ssl);
  *certificate = issue_device(self.authority_, self.device_key_.get(), side.name(side.owner)).release();
  *key = self.device_key_.get();
  EVP_PKEY_up_ref(*key);
  return 1;
}

Outcome<std::unique_ptr<TlsClient>> TlsClient::make(const TlsSettings& settings) {
  std::unique_ptr<TlsClient> client(new TlsClient);
  client->settings_ = settings;
  client->context_ = SSL_CTX_new(TLS_client_method());
  client->method_ = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fieldgate-sim");
  if (client->context_ == nullptr || client->method_ == nullptr) return Problem{"OpenSSL cannot be set up"};
  BIO_meth_set_read(client->method_, bio_read);
  BIO_meth_set_write(client->method_, bio_write);
  BIO_meth_set_ctrl(client->method_, bio_ctrl);

  SSL_CTX* context = client->context_;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (settings.only_tls12) SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (settings.resume) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
  } else {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  }
  if (settings.verify_server) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    const int loaded = settings.ca_file.empty()
                           ? SSL_CTX_set_default_verify_paths(context)
                           : SSL_CTX_load_verify_locations(context, settings.ca_file.c_str(), nullptr);
    if (loaded != 1) {
      ERR_clear_error();
      return Problem{"cannot read certificates from " + settings.ca_file};
    }
  }
  if (!settings.authority_file.empty()) {
    auto authority = load_authority(settings.authority_file, settings.authority_key_file);
    if (!authority) return authority.error();
    client->authority_ = std::move(*authority);
    if (settings.device_key_file.empty()) {
      client->device_key_ = make_key();
    } else {
      auto key = load_key(settings.device_key_file);
      if (!key) return key.error();
      client->device_key_ = std::move(*key);
    }
    SSL_CTX_set_app_data(context, client.get());
    SSL_CTX_set_client_cert_cb(context, give_certificate);
  }
  return client;
}

TlsClient::~TlsClient() {
  SSL_CTX_free(context_);
  BIO_meth_free(method_);
}

SslPtr TlsClient::begin(TlsSide& side) const {
  SslPtr ssl(SSL_new(context_));
  BIO* bio = BIO_new(method_);
  BIO_set_data(bio, &side);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl.get(), bio, bio);
  if (is_address(settings_.server_name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), settings_.server_name.c_str());
  } else {
    SSL_set1_host(ssl.get(), settings_.server_name.c_str());
    SSL_set_tlsext_host_name(ssl.get(), settings_.server_name.c_str());
  }
  SSL_set_app_data(ssl.get(), &side);
  if (settings_.resume && side.session) SSL_set_session(ssl.get(), side.session.get());
  SSL_set_connect_state(ssl.get());
  return ssl;
}

}  // namespace fieldgate::sim
