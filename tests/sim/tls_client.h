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

// What a connection's TLS reads from and writes to. Reading takes what the last
// recv() left in `in`; OpenSSL keeps an incomplete record itself, so `in` is
// empty whenever it wants more. Writing goes straight to the socket.
struct TlsIo {
  int fd = -1;
  std::string_view in;
};

struct SslFree {
  void operator()(SSL* p) const noexcept { SSL_free(p); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;
struct SessionFree {
  void operator()(SSL_SESSION* p) const noexcept { SSL_SESSION_free(p); }
};
using SessionPtr = std::unique_ptr<SSL_SESSION, SessionFree>;

// The TLS side of all devices of one thread.
class TlsClient {
 public:
  static Outcome<std::unique_ptr<TlsClient>> make(const TlsSettings& settings);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // A client handshake to be driven by SSL_do_handshake. Borrows `io`, and
  // `session`, which is offered if it is set and replaced by what the gateway
  // issues; both until the SSL is gone.
  SslPtr begin(std::string_view device, TlsIo& io, SessionPtr& session) const;
  // The handshake is over: its certificate is not needed any more.
  static void established(SSL* ssl) noexcept { SSL_certs_clear(ssl); }

 private:
  TlsClient() = default;

  TlsSettings settings_;
  SSL_CTX* context_ = nullptr;
  BIO_METHOD* method_ = nullptr;
  Authority authority_;
  Key device_key_;
};

}  // namespace fieldgate::sim
