// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/pressure.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/node_status.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/spool.h"
#include "gateway/ports/uplink.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace fieldgate::metrics {

// A lane's own counters, by what sort of lane it is; never nullptr.
struct LaneProbe {
  std::string lane;
  std::variant<const MqttLaneProbe*, const WebhookLaneProbe*> probe;
};

// How far a spool on disk has come.
struct SpoolMarks {
  LogPosition durable_through;
  LogPosition checkpoint;  // of the devices' marks
};

struct CertificateExpiry {
  std::string use;                  // "device_listener", "api", "mqtt_main" ...
  std::int64_t not_after_unix = 0;  // seconds
};

// What the watermark of memory goes by; 0: it is not known, there is no limit.
struct WatchedMemory {
  std::uint64_t bytes = 0;
  std::uint64_t bytes_max = 0;
};

// Where the numbers come from. Everything outlives the Exporter; the functions
// may be called from any thread and wait for no far side. An empty function or a nullptr
// leaves its metrics out.
struct Sources {
  std::vector<const ShardProbe*> shards;
  std::vector<LaneProbe> lanes;
  const HttpProbe* http = nullptr;
  const CommandProbe* commands = nullptr;
  const PeerProbe* peers = nullptr;
  const MembershipProbe* membership = nullptr;
  const Clock* clock = nullptr;  // that its moments are of
  const ReloadProbe* reloads = nullptr;
  const NodeStatus* status = nullptr;
  std::function<Pressure()> pressure;
  std::function<WatchedMemory()> memory;
  std::function<SpoolUsage()> spool;
  // A spool on disk only.
  std::function<SpoolMarks()> spool_marks;
  const SpoolProbe* spool_probe = nullptr;
  std::function<std::vector<DeadLetterUsage>()> dead_letters;
  std::function<UplinkLevel()> uplink_level;
  std::function<std::vector<CertificateExpiry>()> certificates;
  std::function<std::uint64_t()> log_dropped_lines;
};

// Makes the text of /metrics out of the probes. metric_table.h declares every
// metric; docs/metrics.md explains them.
// Thread: any, one call at a time.
class Exporter {
 public:
  explicit Exporter(Sources sources);
  ~Exporter();

  // Prometheus text format 0.0.4.
  std::string text() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate::metrics
