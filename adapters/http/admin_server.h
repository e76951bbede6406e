// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/log.h"
#include "gateway/ports/node_status.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace fieldgate::http {

// /metrics, /livez and /readyz, without a token: for a listener that only the
// operator reaches.
// Thread:  start() and stop() on one thread. Requests are served on a thread of
//          its own, so that a busy API does not make the process look dead.
// Borrows: `status`, `clock`, `log`.
class AdminServer {
 public:
  // `metrics`: the text of /metrics (Prometheus text format 0.0.4).
  // `alive`: whether the device shards turn over. Both are called on the admin
  // thread and must not wait.
  AdminServer(const AdminSettings& settings, const NodeStatus& status, std::function<std::string()> metrics,
              std::function<bool()> alive, const Clock& clock, Log& log);
  ~AdminServer();  // stops

  // Listens and serves; gives the port. Errors: address not to be had.
  Result<std::uint16_t> start();

  // Closes every connection and joins the thread. Idempotent.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate::http
