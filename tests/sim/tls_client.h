// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"
#include "tests/sim/pki.h"

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::sim {

struct TlsSettings {
  std::string ca_file;  // whom to trust; empty: the system's bundle
  bool verify_server = true;
  std::string server_name;  // checked against the certificate: a host name or an IP address
  // Both set: every device gets a certificate, signed when it connects.
  std::string authority_file;
  std::string authority_key_file;
  std::string device_key_file;  // empty: a new key for this run
  bool only_tls12 = false;
  bool resume = false;  // keep each device's session for its next connection
};

struct SslFree {
  void operator()(SSL* p) const noexcept { SSL_free(p); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;
struct SessionFree {
  void operator()(SSL_SESSION* p) const noexcept { SSL_SESSION_free(p); }
};
using SessionPtr = std::unique_ptr<SSL_SESSION, SessionFree>;

// A connection as TLS sees it. Reading takes what the last recv() left in `in`;
// OpenSSL keeps an incomplete record itself, so `in` is empty whenever it wants
// more. Writing goes straight to the socket.
struct TlsSide {
  int fd = -1;
  std::string_view in;
  SessionPtr session;  // offered at the next handshake, replaced by what the gateway issues
  // Whose certificate it is to be; asked for only if the gateway wants one.
  const void* owner = nullptr;
  std::string (*name)(const void* owner) = nullptr;
};

// The TLS side of all devices of one thread.
class TlsClient {
 public:
  static Outcome<std::unique_ptr<TlsClient>> make(const TlsSettings& settings);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // A client handshake to be driven by SSL_do_handshake. Borrows `side` until the
  // SSL is gone.
  SslPtr begin(TlsSide& side) const;
  // The handshake is over: its certificate is not needed any more.
  static void established(SSL* ssl) noexcept { SSL_certs_clear(ssl); }

 private:
  TlsClient() = default;
  static int give_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key) noexcept;

  TlsSettings settings_;
  SSL_CTX* context_ = nullptr;
  BIO_METHOD* method_ = nullptr;
  Authority authority_;
  Key device_key_;
};

}  // namespace fieldgate::sim
