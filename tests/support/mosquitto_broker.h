// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/temp_dir.h"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace fieldgate::test {

struct BrokerOptions {
  // Keeps its state over restart(); each change is on disk only after a clean stop.
  bool persistence = false;
  // PEM files; with a certificate the listener speaks TLS, with a CA it demands a
  // client certificate of it.
  std::string certificate_file{};
  std::string key_file{};
  std::string client_ca_file{};
  // As mosquitto_passwd writes it; empty: anonymous clients are let in.
  std::string password_file{};
  // More lines of mosquitto.conf.
  std::string extra{};
};

// Debian's mosquitto on a loopback port of its own. It dies with this object, and
// with the test process whatever becomes of it.
// Thread: the one that made it (its death signal hangs on that thread).
// Errors: throws, so that the test fails.
class MosquittoBroker {
 public:
  explicit MosquittoBroker(BrokerOptions options = {});
  ~MosquittoBroker();
  MosquittoBroker(const MosquittoBroker&) = delete;
  MosquittoBroker& operator=(const MosquittoBroker&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  // What it logged so far.
  std::string log() const;

  // Starts it again on the same port, on the same state. Precondition: stopped.
  void start();
  void stop();    // SIGTERM, and waits: what has persistence saves it
  void kill();    // SIGKILL, and waits
  void freeze();  // SIGSTOP
  void thaw();    // SIGCONT
  void reload();  // SIGHUP: accounts and ACL are read anew

 private:
  void spawn();
  void end(int signal);
  void write_configuration();

  BrokerOptions options_;
  TempDir dir_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

// A loopback port that nobody listens on, for now: never the same one twice in a
// process, and below those that the kernel gives to outgoing connections.
std::uint16_t free_port();

}  // namespace fieldgate::test
