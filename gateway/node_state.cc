// SPDX-License-Identifier: Apache-2.0
#include "gateway/node_state.h"

namespace fieldgate {
namespace {

constexpr std::chrono::seconds k_standstill{10};

}  // namespace

Readiness NodeState::readiness() const {
  Readiness readiness;
  switch (phase_.load()) {
    case Phase::starting: readiness.reasons.push_back({"starting", "not listening for devices yet", true}); break;
    case Phase::draining: readiness.reasons.push_back({"draining", "sending devices away, then stopping", true}); break;
    case Phase::running: readiness.ready = true; break;
  }
  // A lost broker is a reason shown, not unready: or one outage would take every
  // replica out of service at once.
  for (const LaneStatus& lane : uplink_.lanes()) {
    if (lane.held) {
      readiness.reasons.push_back({"lane_held", "lane " + lane.name + " is paused by an operator", false});
    }
    if (lane.state == LaneState::running) continue;
    std::string text = "lane " + lane.name + " to " + lane.destination + " is " + std::string(to_string(lane.state));
    if (!lane.last_error.empty()) text += ": " + lane.last_error;
    readiness.reasons.push_back({"lane_down", std::move(text), false});
  }
  // One that has failed ends with this process: others may still take devices.
  if (const SpoolUsage usage = uplink_.usage(); usage.state != SpoolState::ok) {
    readiness.reasons.push_back(
        {"spool_" + std::string(to_string(usage.state)), usage.error, usage.state == SpoolState::failed});
    if (usage.state == SpoolState::failed) readiness.ready = false;
  }
  if (const UplinkLevel level = uplink_.level(); level != UplinkLevel::normal) {
    readiness.reasons.push_back(
        {"uplink_backlog", "records wait for a lane; devices' credit is " + std::string(to_string(level)), false});
  }
  return readiness;
}

NodeInfo NodeState::node() const {
  NodeInfo info = info_;
  info.shards = gateway_.shards();
  info.sessions = gateway_.sessions();
  return info;
}

bool NodeState::alive() {
  const Monotonic now = clock_.now();
  turns_.resize(gateway_.shards(), Turn{0, now});
  bool all = true;
  for (std::uint32_t i = 0; i < gateway_.shards(); ++i) {
    const std::uint64_t turns = gateway_.probe(i).loop_turns.get();
    if (turns != turns_[i].turns) turns_[i] = {turns, now};
    // Looked at seldom, a shard is given the benefit of the doubt: it counts from
    // the last look.
    all = all && now - turns_[i].seen < k_standstill;
  }
  return all;
}

}  // namespace fieldgate
