// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/ports/log.h"

#include <boost/asio/ssl/context.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace fieldgate::webhook {

// The TLS side of a lane: TLS 1.2 and up, the target's certificate always checked.
// Thread: the lane's.
class TlsClient {
 public:
  struct Files {
    std::string ca;  // PEM; empty: the system's
    std::string certificate;
    std::string key;
  };
  TlsClient(Files files, std::string lane, Log& log) : files_(std::move(files)), lane_(std::move(lane)), log_(log) {}

  // Reads the files.
  // Errors: Errc::not_found, Errc::malformed, naming the file and what is wrong with it.
  Result<void> load();
  // For a new connection: reads the files again if one of them has changed. Files
  // that cannot be used are logged, and what was there stays.
  // Precondition: load() has succeeded.
  std::shared_ptr<boost::asio::ssl::context> context();

 private:
  // Of each file: device, inode, size, time of change.
  using Stamp = std::array<std::int64_t, 12>;
  Stamp stamp() const;

  Files files_;
  std::string lane_;
  Log& log_;
  Stamp stamp_{};
  std::shared_ptr<boost::asio::ssl::context> context_;
};

}  // namespace fieldgate::webhook
