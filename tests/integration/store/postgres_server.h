// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/temp_dir.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::store {

// Debian's PostgreSQL 15 on a loopback port of its own, with passwords (SCRAM). It ends
// with this object, and with the test process whatever becomes of it. As root it is run
// by the user postgres.
// Thread: the one that made it (its death signal hangs on that thread).
// Errors: throws, so that the test fails.
class PostgresServer {
 public:
  static constexpr const char* k_password = "s3cret'%20\\pass";

  // False: the package is not installed.
  static bool is_installed();

  // `settings`: NAME=VALUE, beside what a test server needs.
  explicit PostgresServer(std::vector<std::string> settings = {"fsync=off"});
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  // A connection string of libpq's for its superuser, without the password.
  std::string connection(std::string_view database = "postgres") const;
  // A new and empty database; returns its name.
  std::string make_database();
  // One value, of SQL executed in `database`; empty: there is none.
  std::string ask(std::string_view database, const std::string& sql) const;

  void start();   // Precondition: stopped
  void stop();    // clients are thrown out
  void freeze();  // all of its processes
  void thaw();

 private:
  void run(const std::vector<std::string>& words);
  pid_t spawn(const std::vector<std::string>& words);
  std::vector<pid_t> processes() const;
  std::string log() const;

  test::TempDir dir_;
  const std::vector<std::string> settings_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
  int databases_ = 0;
};

}  // namespace fieldgate::store
