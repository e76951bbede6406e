// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/end_reason.h"
#include "gateway/core/record.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/spool.h"
#include "gateway/ports/uplink.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fieldgate {

// The process in numbers, over all shards. Counters are since its start.
struct Overview {
  std::uint64_t connections = 0;  // open sockets of devices, whatever the phase
  std::uint64_t handshakes = 0;   // of those: TLS, upgrade or Hello not done yet
  std::uint64_t admitted = 0;     // welcomed
  std::array<std::uint64_t, k_end_reasons> ends{};
  std::array<std::uint64_t, k_record_kinds> records{};
  std::array<std::uint64_t, k_reject_codes> rejects{};
  std::uint64_t bytes_in = 0;  // WebSocket payload and headers
  std::uint64_t bytes_out = 0;
  UplinkLevel level = UplinkLevel::normal;
  SpoolUsage uplink;
  bool spool = false;  // `uplink` outlives the process
  struct Certificate {
    std::string name;
    std::int64_t not_after_unix_ms = 0;
  };
  std::vector<Certificate> certificates;
  std::uint64_t memory_bytes = 0;  // resident
  double cpu_seconds = 0;          // user and system
  double uptime_seconds = 0;
};

// The process about itself. Thread: any; never waits.
class NodeStatus {
 public:
  virtual ~NodeStatus() = default;
  virtual Readiness readiness() const = 0;
  virtual NodeInfo node() const = 0;
  virtual std::vector<LaneStatus> lanes() const = 0;
  virtual Overview overview() const = 0;
};

}  // namespace fieldgate
