// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/pki.h"

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::test {

// An OpenSSL client without a socket: the test carries the bytes.
// Errors: throws where a test cannot go on; what the peer causes is in error().
class MemoryTlsClient {
 public:
  struct Options {
    std::string ca;                      // PEM; empty: the server is not verified
    const Identity* identity = nullptr;  // the client's certificate
    int version_min = 0;                 // as TLS1_2_VERSION; 0: the library's
    int version_max = 0;
    std::string tls13_suites;  // in the client's order; empty: the library's
    std::string tls12_suites;
    std::string groups;  // of the key exchange, likewise
    std::shared_ptr<SSL_SESSION> resume;
  };

  explicit MemoryTlsClient(const Options& options);
  ~MemoryTlsClient();

  // Takes what the server has sent, goes on with the handshake or reads.
  void receive(std::string_view ciphertext);
  // What is to be sent to the server.
  std::string take();

  void write(std::string_view plaintext);
  void close();

  bool established() const;
  bool closed() const;  // close_notify came
  const std::string& plaintext() const noexcept { return plaintext_; }
  const std::string& error() const noexcept { return error_; }
  SSL* native() const noexcept { return ssl_.get(); }
  // The last session ticket; nullptr: none came.
  std::shared_ptr<SSL_SESSION> session() const { return session_; }

 private:
  void go();

  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> ctx_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  std::shared_ptr<SSL_SESSION> session_;
  std::string plaintext_;
  std::string error_;
};

}  // namespace fieldgate::test
