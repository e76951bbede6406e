// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/pki.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::mqtt {

// What lets every client in, and promises nothing.
inline const std::string k_connack("\x20\x03\x00\x00\x00", 5);

// Reads MQTT 5 packets of one client at a time; writes what it is told.
class ScriptedBroker {
 public:
  ScriptedBroker();
  // Over TLS, with the server's certificate `identity`.
  explicit ScriptedBroker(const test::Identity& identity);
  ~ScriptedBroker();
  ScriptedBroker(const ScriptedBroker&) = delete;
  ScriptedBroker& operator=(const ScriptedBroker&) = delete;

  std::uint16_t port() const { return port_; }

  // Waits for the next client; the one before is hung up on.
  void accept();
  // Somebody connects, or does within `patience`.
  bool knocked(std::chrono::milliseconds patience) const;
  void hang_up();
  // False: the client has gone before it had all of it.
  bool send(std::string_view bytes) const;
  // The next packet without its remaining length; empty: there is none.
  std::string next(std::chrono::milliseconds patience = std::chrono::seconds(60));
  // Reads to the client's end; false if that does not come in time.
  bool ended(std::chrono::milliseconds patience) const;

 private:
  ssize_t receive(char* to, std::size_t size) const;

  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> tls_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, void (*)(SSL*)> session_{nullptr, SSL_free};
  int listener_ = -1;
  int peer_ = -1;
  std::uint16_t port_ = 0;
  std::string in_;
};

// SUBACK to the packet `subscribe`: what is refused is whatever contains `refused`; nothing, if that is empty.
std::string suback_to(const std::string& subscribe, std::string_view refused = {});

// Of a packet PUBLISH of QoS 1, as next() gives it: its topic, and its packet id as it stands there.
std::string_view topic_of(std::string_view publish);
std::string_view id_of(std::string_view publish);

}  // namespace fieldgate::mqtt
