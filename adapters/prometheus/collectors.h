// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/prometheus/metric_table.h"

#include <array>
#include <string_view>
#include <variant>
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

// Calls `fn` with name and probe of each lane of one sort.
template <class Probe, class Fn>
void for_each_lane(const Snapshot& in, Fn fn) {
  for (const LaneProbe& lane : in.sources.lanes) {
    if (const auto* probe = std::get_if<const Probe*>(&lane.probe)) fn(std::string_view(lane.lane), **probe);
  }
}

// A cell of each lane of one sort.
template <class Probe, Cell Probe::*cell>
void lane_counter(const Snapshot& in, Samples& out) {
  for_each_lane<Probe>(in, [&](std::string_view lane, const Probe& probe) {
    out.add(static_cast<double>((probe.*cell).get()), {lane});
  });
}

template <class Probe, HistogramCell Probe::*cell>
void lane_histogram(const Snapshot& in, Samples& out) {
  for_each_lane<Probe>(in, [&](std::string_view lane, const Probe& probe) {
    const std::array<const HistogramCell*, 1> one = {&(probe.*cell)};
    out.add(one, {lane});
  });
}

// What the uplink log counts of each lane.
template <std::uint64_t LaneStatus::*value>
void lane_value(const Snapshot& in, Samples& out) {
  for (const LaneStatus& lane : in.lanes) out.add(static_cast<double>(lane.*value), {lane.name});
}

void dead_letter_value(const Snapshot& in, Samples& out, std::uint64_t DeadLetterUsage::*value);
template <std::uint64_t DeadLetterUsage::*value>
void dead_letters(const Snapshot& in, Samples& out) {
  dead_letter_value(in, out, value);
}

// Plain values.
template <std::uint64_t SpoolUsage::*value>
void spool_value(const Snapshot& in, Samples& out) {
  if (in.spool) out.add(static_cast<double>((*in.spool).*value));
}

template <Cell SpoolProbe::*cell>
void spool_counter(const Snapshot& in, Samples& out) {
  if (in.sources.spool_probe != nullptr) out.add(static_cast<double>((in.sources.spool_probe->*cell).get()));
}

template <Cell CommandProbe::*cell>
void command_counter(const Snapshot& in, Samples& out) {
  if (in.sources.commands != nullptr) out.add(static_cast<double>((in.sources.commands->*cell).get()));
}

template <Cell PeerProbe::*cell>
void peer_counter(const Snapshot& in, Samples& out) {
  if (in.sources.peers != nullptr) out.add(static_cast<double>((in.sources.peers->*cell).get()));
}

template <Cell MembershipProbe::*cell>
void membership_counter(const Snapshot& in, Samples& out) {
  if (in.sources.membership != nullptr) out.add(static_cast<double>((in.sources.membership->*cell).get()));
}

// Seconds since; nothing, as long as it never was.
void membership_age_of(const Snapshot& in, Samples& out, MomentCell MembershipProbe::*moment);
template <MomentCell MembershipProbe::*moment>
void membership_age(const Snapshot& in, Samples& out) {
  membership_age_of(in, out, moment);
}

template <auto ProcessStats::*value>
void process(const Snapshot& in, Samples& out) {
  out.add(static_cast<double>(in.process.*value));
}

void connection_attempts(const Snapshot& in, Samples& out);
void admission_paused(const Snapshot& in, Samples& out);
void sessions_ended(const Snapshot& in, Samples& out);
void tls_handshakes(const Snapshot& in, Samples& out);
void records(const Snapshot& in, Samples& out);
void rejects(const Snapshot& in, Samples& out);
void downlink_messages(const Snapshot& in, Samples& out);
void shard_sessions(const Snapshot& in, Samples& out);
void shard_loop_turns(const Snapshot& in, Samples& out);
void lane_state(const Snapshot& in, Samples& out);
void lane_held(const Snapshot& in, Samples& out);
void lane_oldest_pending(const Snapshot& in, Samples& out);
void lane_records(const Snapshot& in, Samples& out);
void lane_connection_attempts(const Snapshot& in, Samples& out);
void lane_record_time(const Snapshot& in, Samples& out);
void lane_in_flight_messages(const Snapshot& in, Samples& out);
void lane_refusals(const Snapshot& in, Samples& out);
void lane_requests(const Snapshot& in, Samples& out);
void lane_responses(const Snapshot& in, Samples& out);
void lane_in_flight_requests(const Snapshot& in, Samples& out);
void uplink_appended(const Snapshot& in, Samples& out);
void uplink_level(const Snapshot& in, Samples& out);
void spool_state(const Snapshot& in, Samples& out);
void spool_undurable(const Snapshot& in, Samples& out);
void spool_uncheckpointed(const Snapshot& in, Samples& out);
void spool_file_bytes(const Snapshot& in, Samples& out);
void spool_commit_time(const Snapshot& in, Samples& out);
void command_time(const Snapshot& in, Samples& out);
void hold_ends(const Snapshot& in, Samples& out);
void lease_renewals(const Snapshot& in, Samples& out);
void peer_drops(const Snapshot& in, Samples& out);
void peer_answer_time(const Snapshot& in, Samples& out);
void http_responses(const Snapshot& in, Samples& out);
void http_request_time(const Snapshot& in, Samples& out);
void http_connections(const Snapshot& in, Samples& out);
void http_refused(const Snapshot& in, Samples& out);
void stream_subscribers(const Snapshot& in, Samples& out);
void stream_events(const Snapshot& in, Samples& out);
void stream_sent(const Snapshot& in, Samples& out);
void stream_missed(const Snapshot& in, Samples& out);
void build_info(const Snapshot& in, Samples& out);
void ready(const Snapshot& in, Samples& out);
void readiness_reasons(const Snapshot& in, Samples& out);
void memory_watched(const Snapshot& in, Samples& out);
void memory_limit(const Snapshot& in, Samples& out);
void certificate_expiry(const Snapshot& in, Samples& out);
void reloads(const Snapshot& in, Samples& out);
void reload_last_done(const Snapshot& in, Samples& out);
void reload_last_done_time(const Snapshot& in, Samples& out);
void log_dropped(const Snapshot& in, Samples& out);

}  // namespace fieldgate::metrics
