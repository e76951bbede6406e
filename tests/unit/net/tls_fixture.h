// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/net/tls_channel.h"
#include "tests/support/memory_tls_client.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace fieldgate::test {

inline std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// A listener's certificate, its devices' CA, and the settings that name them.
struct TlsSite {
  TlsSite() {
    settings.certificate_file = dir.write("server.pem", server.certificate);
    settings.key_file = dir.write("server.key", server.key);
    settings.client_ca_file = dir.write("devices.pem", authority.certificate());
  }

  std::shared_ptr<const TlsContext> load() const {
    auto context = TlsContext::load(settings, nullptr);
    if (!context) throw std::runtime_error(context.error().detail);
    return *context;
  }

  MemoryTlsClient::Options client(const Identity* identity = nullptr) const {
    MemoryTlsClient::Options options;
    options.ca = authority.certificate();
    options.identity = identity;
    return options;
  }

  TempDir dir;
  Authority authority;
  Identity server = authority.server();
  Identity device = authority.device("dev-1");
  DeviceTlsSettings settings;
};

// One channel and its client, with the bytes carried by hand.
struct TlsPair {
  TlsPair(const TlsContext& context, const MemoryTlsClient::Options& options) : channel(context, io), client(options) {}

  // Lets both go on until neither has anything to say.
  void run() {
    for (std::string up = client.take(), down; !up.empty(); up = client.take()) {
      to_server(up);
      down = std::exchange(io.out(), {});
      client.receive(down);
    }
  }

  void to_server(std::string_view ciphertext) {
    auto bytes = as_bytes(ciphertext);
    if (status == TlsStatus::failed || status == TlsStatus::closed) return;
    if (!established) {
      status = channel.handshake(io, bytes);
      if (status != TlsStatus::established) return;
      established = true;
      bytes = io.unread();
    }
    status = channel.feed(io, bytes, [this](std::span<std::byte> plain) {
      received.append(reinterpret_cast<const char*>(plain.data()), plain.size());
      ++deliveries;
      return true;
    });
  }

  // What channel operations have produced goes to the client, and back.
  void deliver() {
    client.receive(std::exchange(io.out(), {}));
    run();
  }

  TlsIo io;
  TlsChannel channel;
  MemoryTlsClient client;
  TlsStatus status = TlsStatus::want_more;
  bool established = false;
  std::string received;
  int deliveries = 0;
};

// Each test in both versions.
class TlsVersions : public testing::TestWithParam<int> {
 protected:
  MemoryTlsClient::Options client(const Identity* identity = nullptr) const {
    auto options = site.client(identity);
    options.version_min = options.version_max = GetParam();
    return options;
  }
  bool is_13() const { return GetParam() == TLS1_3_VERSION; }

  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0U) << "an error was left in the thread's queue"; }

  TlsSite site;
};

}  // namespace fieldgate::test
