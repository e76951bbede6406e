// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/handler.h"
#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"

#include <cstdint>
#include <string>
#include <vector>

namespace fieldgate::http {

struct ServerSettings {
  std::string name;  // "api", "admin": in logs
  Endpoint listen;
  std::string certificate_file;  // both set: HTTPS
  std::string key_file;
  std::vector<std::string> cors_origins;
  std::uint32_t connections_max = 1'024;
  std::uint32_t connections_per_address_max = 0;  // 0: no cap
  std::uint32_t header_bytes_max = 16'384;
  std::uint32_t body_bytes_max = 65'536;
  // From accept, over the TLS handshake, to the first request's last byte; of those after it
  // from the first byte to the last; for the answer to be made; for the answer to be taken.
  milliseconds request_timeout{10'000};
  milliseconds idle_timeout{60'000};  // between requests
};

// What all connections of a server share.
// Thread: the server's loop.
struct Service {
  ServerSettings settings;
  Handler& handler;
  const Clock& clock;
  Log& log;
  HttpProbe& probe;
  std::string id_prefix;  // of request ids; another one in each process
  std::uint64_t next_id = 1;
};

}  // namespace fieldgate::http
