// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/net/gateway.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/node_status.h"
#include "gateway/uplink/uplink_log.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace fieldgate {

// What the process says about itself.
// Thread: any, except where noted.
class NodeState final : public NodeStatus {
 public:
  // drained: the shards have stopped.
  enum class Phase : std::uint8_t { starting, running, draining, drained };

  NodeState(NodeInfo info, const net::Gateway& gateway, const uplink::UplinkLog& uplink, const Clock& clock)
      : info_(std::move(info)), gateway_(gateway), uplink_(uplink), clock_(clock) {}

  void enter(Phase phase) noexcept { phase_.store(phase); }

  Readiness readiness() const override;
  // Of a process in that phase. Only what is wrong with the process itself blocks:
  // a lost broker, a full disk or an operator's pause is shown and no more, or one
  // outage would take every replica out of service at once.
  static Readiness readiness(Phase phase, const std::vector<LaneStatus>& lanes, const SpoolUsage& spool,
                             UplinkLevel level);
  NodeInfo node() const override;
  std::vector<LaneStatus> lanes() const override { return uplink_.lanes(); }
  Overview overview() const override;

  // Whether every shard has turned over within the last 10 s, or need not any more.
  // Thread: the one that asks, each with a pulse of its own.
  class Pulse {
   public:
    explicit Pulse(const NodeState& state) : state_(state) {}
    bool beats();

   private:
    struct Turn {
      std::uint64_t turns = 0;
      Monotonic seen;
    };
    const NodeState& state_;
    std::vector<Turn> turns_;
  };

 private:
  NodeInfo info_;
  const net::Gateway& gateway_;
  const uplink::UplinkLog& uplink_;
  const Clock& clock_;
  std::atomic<Phase> phase_{Phase::starting};
};

}  // namespace fieldgate
