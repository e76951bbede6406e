// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/loop.h"
#include "adapters/http/service.h"

#include <cstdint>
#include <memory>

namespace fieldgate::http {

// A listener, its connections, and the one thread that serves them.
// Thread:  start() and stop() on one thread.
// Borrows: `handler`, `clock`, `log`, `probe`.
// Bounds:  connections_max. Beyond it, the one that has waited longest for its client to send a
//          request or to take an answer makes room. Where all have one at work, and beyond an
//          address's cap, a few are told 503, the rest are closed.
class HttpServer {
 public:
  HttpServer(ServerSettings settings, Handler& handler, const Clock& clock, Log& log, HttpProbe& probe);
  ~HttpServer();  // stops

  // Usable from construction on; what is posted runs once the server has started.
  // Held elsewhere, it outlives the server, but runs nothing any more.
  std::shared_ptr<Loop> loop() const;

  // Listens and serves; gives the port. Errors: certificate unusable, address not
  // to be had. Once only.
  Result<std::uint16_t> start();
  // Idempotent.
  void stop();
  // Reads the certificate again, for connections from now on. Any thread, while
  // started. Errors: unusable; the old one stays. Blocks on disk.
  Result<void> reload_certificate();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate::http
