// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/prometheus/metric_table.h"

#include <array>
#include <vector>

// Where each metric of the table gets its values.
namespace fieldgate::metrics {

// Cells of all shards, summed.
template <Cell ShardProbe::*cell>
void shard_counter(const Snapshot& in, Samples& out) {
  std::uint64_t sum = 0;
  for (const ShardProbe* shard : in.sources.shards) sum += (shard->*cell).get();
  if (!in.sources.shards.empty()) out.add(static_cast<double>(sum));
}

template <GaugeCell ShardProbe::*cell>
void shard_gauge(const Snapshot& in, Samples& out) {
  std::int64_t sum = 0;
  for (const ShardProbe* shard : in.sources.shards) sum += (shard->*cell).get();
  if (!in.sources.shards.empty()) out.add(static_cast<double>(sum));
}

template <HistogramCell ShardProbe::*cell>
void shard_histogram(const Snapshot& in, Samples& out) {
  std::vector<const HistogramCell*> all;
  for (const ShardProbe* shard : in.sources.shards) all.push_back(&(shard->*cell));
  if (!all.empty()) out.add(all);
}

// A cell of each lane.
template <Cell MqttLaneProbe::*cell>
void lane_counter(const Snapshot& in, Samples& out) {
  for (const LaneProbe& lane : in.sources.lanes) out.add(static_cast<double>((lane.probe->*cell).get()), {lane.lane});
}

template <HistogramCell MqttLaneProbe::*cell>
void lane_histogram(const Snapshot& in, Samples& out) {
  for (const LaneProbe& lane : in.sources.lanes) {
    const std::array<const HistogramCell*, 1> one = {&(lane.probe->*cell)};
    out.add(one, {lane.lane});
  }
}

// Plain values.
template <std::uint64_t SpoolUsage::*value>
void spool_value(const Snapshot& in, Samples& out) {
  if (in.sources.spool) out.add(static_cast<double>(in.sources.spool().*value));
}

template <auto ProcessStats::*value>
void process(const Snapshot& in, Samples& out) {
  out.add(static_cast<double>(in.process.*value));
}

void connection_attempts(const Snapshot& in, Samples& out);
void sessions_ended(const Snapshot& in, Samples& out);
void tls_handshakes(const Snapshot& in, Samples& out);
void records(const Snapshot& in, Samples& out);
void rejects(const Snapshot& in, Samples& out);
void shard_sessions(const Snapshot& in, Samples& out);
void shard_loop_turns(const Snapshot& in, Samples& out);
void lane_connection_attempts(const Snapshot& in, Samples& out);
void lane_in_flight(const Snapshot& in, Samples& out);
void lane_refusals(const Snapshot& in, Samples& out);
void lane_state(const Snapshot& in, Samples& out);
void lane_pending(const Snapshot& in, Samples& out);
void lane_oldest_pending(const Snapshot& in, Samples& out);
void lane_records(const Snapshot& in, Samples& out);
void uplink_appended(const Snapshot& in, Samples& out);
void uplink_level(const Snapshot& in, Samples& out);
void http_responses(const Snapshot& in, Samples& out);
void http_request_time(const Snapshot& in, Samples& out);
void http_connections(const Snapshot& in, Samples& out);
void http_refused(const Snapshot& in, Samples& out);
void build_info(const Snapshot& in, Samples& out);
void ready(const Snapshot& in, Samples& out);
void readiness_reasons(const Snapshot& in, Samples& out);
void certificate_expiry(const Snapshot& in, Samples& out);
void log_dropped(const Snapshot& in, Samples& out);

}  // namespace fieldgate::metrics
