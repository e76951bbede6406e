// SPDX-License-Identifier: Apache-2.0
#include "gateway/node_state.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

namespace fieldgate {
namespace {

constexpr std::chrono::seconds k_standstill{10};

void add_lane(const LaneStatus& lane, std::vector<Readiness::Reason>& reasons) {
  if (lane.held) {
    reasons.push_back(
        {"lane_held",
         "lane " + lane.name + " is paused by an operator; POST /api/v1/lanes/" + lane.name + "/resume lets it go on",
         false});
  }
  if (lane.state == LaneState::running) return;
  std::string text = "lane " + lane.name + " to " + lane.destination + " is " + std::string(to_string(lane.state));
  if (!lane.last_error.empty()) text += ": " + lane.last_error;
  // Without its store a gateway lets no new device in, but must not be taken out of
  // service for it: nor could any other.
  reasons.push_back({lane.type == "store" ? "store_down" : "lane_down", std::move(text), false});
}

void add_spool(const SpoolUsage& spool, std::vector<Readiness::Reason>& reasons) {
  switch (spool.state) {
    case SpoolState::ok: break;
    case SpoolState::full:
      reasons.push_back({"spool_full",
                         "the spool's disk is full: " + spool.error +
                             "; make room on the volume, and it goes on by itself. Nothing becomes SPOOLED until then",
                         false});
      break;
    case SpoolState::failed:
      reasons.push_back({"spool_failed",
                         "the spool has failed: " + spool.error +
                             "; mend or replace the disk and restart. What was acknowledged as SPOOLED is in its file",
                         true});
      break;
  }
}

void add_pressure(Pressure pressure, std::vector<Readiness::Reason>& reasons) {
  // No reason to be taken out of service: those who are connected would all have to come
  // back somewhere, and that costs more.
  switch (pressure) {
    case Pressure::none: break;
    case Pressure::memory:
      reasons.push_back({"memory_high",
                         "memory in use is above limits.memory_high: no device is let in until it is at "
                         "limits.memory_low; more memory, or fewer devices or a smaller uplink.memory_bytes_max",
                         false});
      break;
    case Pressure::descriptors:
      reasons.push_back({"descriptors_high",
                         "open file descriptors are above limits.descriptors_high: no device is let in until they are "
                         "at limits.descriptors_low; raise LimitNOFILE or lower limits.sessions_max",
                         false});
      break;
  }
}

std::uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");  // made by the kernel for each read: no disk
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  in >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// A gauge is read while its thread writes it, but never below nothing.
std::uint64_t level_of(const GaugeCell& gauge) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, gauge.get()));
}

void add_shard(const ShardProbe& shard, Overview& out) {
  out.connections += level_of(shard.connections);
  out.handshakes += level_of(shard.handshakes);
  for (std::size_t i = 0; i < HistogramCell::k_buckets; ++i) out.admitted += shard.welcome_time.bucket(i);
  for (std::size_t i = 0; i < out.ends.size(); ++i) out.ends[i] += shard.ends[i].get();
  for (std::size_t i = 0; i < out.records.size(); ++i) out.records[i] += shard.records[i].get();
  for (std::size_t i = 0; i < out.rejects.size(); ++i) out.rejects[i] += shard.rejects[i].get();
  out.bytes_in += shard.bytes_in.get();
  out.bytes_out += shard.bytes_out.get();
}

}  // namespace

Overview NodeState::overview() const {
  Overview out;
  for (std::uint32_t i = 0; i < gateway_.shards(); ++i) add_shard(gateway_.probe(i), out);
  out.level = uplink_.level();
  out.uplink = uplink_.usage();
  out.spool = uplink_.durable();
  if (const std::int64_t until = gateway_.certificate_not_after(); until != 0) {
    out.certificates.push_back({"device_listener", until * 1'000});
  }
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  out.cpu_seconds = seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
  out.memory_bytes = resident_bytes();
  out.uptime_seconds = static_cast<double>(std::max<std::int64_t>(0, clock_.unix_ms() - info_.started_unix_ms)) / 1e3;
  return out;
}

Readiness NodeState::readiness() const {
  Readiness out = readiness(phase_.load(), uplink_.lanes(), uplink_.usage(), uplink_.level());
  add_pressure(gateway_.pressure(), out.reasons);
  return out;
}

Readiness NodeState::readiness(Phase phase, const std::vector<LaneStatus>& lanes, const SpoolUsage& spool,
                               UplinkLevel level) {
  Readiness out;
  switch (phase) {
    case Phase::starting: out.reasons.push_back({"starting", "not listening for devices yet", true}); break;
    case Phase::draining: out.reasons.push_back({"draining", "sending devices away, then stopping", true}); break;
    case Phase::drained:
      out.reasons.push_back({"drained", "all devices are gone; what they sent goes to the lanes, then it stops", true});
      break;
    case Phase::running: break;
  }
  for (const LaneStatus& lane : lanes) add_lane(lane, out.reasons);
  add_spool(spool, out.reasons);
  if (level != UplinkLevel::normal) {
    out.reasons.push_back({"uplink_backlog",
                           "records wait for a lane or for the disk, and devices' credit is " +
                               std::string(to_string(level)) + "; GET /api/v1/lanes says which lane is behind",
                           false});
  }
  out.ready = std::none_of(out.reasons.begin(), out.reasons.end(), [](const auto& reason) { return reason.blocks; });
  return out;
}

NodeInfo NodeState::node() const {
  NodeInfo info = info_;
  info.shards = gateway_.shards();
  info.sessions = gateway_.sessions();
  return info;
}

bool NodeState::Pulse::beats() {
  if (state_.phase_.load() == Phase::drained) return true;
  const net::Gateway& gateway = state_.gateway_;
  const Monotonic now = state_.clock_.now();
  turns_.resize(gateway.shards(), Turn{0, now});
  bool all = true;
  for (std::uint32_t i = 0; i < gateway.shards(); ++i) {
    const std::uint64_t turns = gateway.probe(i).loop_turns.get();
    if (turns != turns_[i].turns) turns_[i] = {turns, now};
    // Looked at seldom, a shard is given the benefit of the doubt: it counts from
    // the last look.
    all = all && now - turns_[i].seen < k_standstill;
  }
  return all;
}

}  // namespace fieldgate
