// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/links.h"
#include "gateway/control/store_worker.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace fieldgate::control {

struct ReaperLimits {
  std::chrono::seconds lease{15};
  std::uint32_t timeline_entries = 100;       // kept per device
  std::chrono::seconds forget_after{86'400};  // a node that is gone, and with it no device
};

// Ends what nodes that died without a word left online: in the store, in the timelines, and
// in the uplink log for those who follow presence there.
//
// A node is dead when its lease has run out by the store's clock, and this one has had the
// store without a break for two lease periods: after an outage that kept everybody from
// renewing, nobody is ended before everybody could. Whoever has been away from the store,
// stopped, or asleep for longer than a lease begins to count anew.
// Any node may do it, and several at once: the store gives each portion to one of them, and
// none of a node whose lease was renewed meanwhile.
// Thread: retire() and retired() any; the rest the store's, or before that starts.
// Borrows: worker, clock, log, probe, links; all outlive the worker's stop().
// Bounds: k_portion devices at once.
class NodeReaper {
 public:
  static constexpr std::size_t k_portion = 500;

  // The labels that the registry has for a device, sorted by key.
  using LabelsOf = std::function<Labels(const DeviceId&)>;

  NodeReaper(StoreWorker& worker, NodeRow self, const Clock& clock, Log& log, ReaperLimits limits,
             MembershipProbe& probe);
  // Before the worker's start().
  void start(const ControlLinks& links, LabelsOf labels);
  // Ends nobody any more: for a process whose shards are to end, for what it took from the dead
  // would be told to nobody. Others do it.
  void retire();
  // It is so, and who was ended here has been told of.
  bool retired() const noexcept { return retired_.load(); }

 private:
  struct Portion {
    std::vector<PresenceEvent> events;
    std::vector<PresenceRow> rows;
  };

  void tick_again();
  void tick();
  void look(const std::vector<NodeRow>& nodes);
  void reap(const std::string& node, std::size_t ended);
  Result<void> end_some(DeviceStore& store, const std::string& node, Portion& portion) const;
  void tell(const Portion& portion) const;

  StoreWorker& worker_;
  const NodeRow self_;
  const Clock& clock_;
  Log& log_;
  const ReaperLimits limits_;
  MembershipProbe& probe_;

  std::atomic<bool> retired_{false};
  ControlLinks links_;
  LabelsOf labels_;
  Monotonic access_since_{};  // without a break
  Monotonic ticked_{};
  bool looking_ = false;
  std::unordered_map<std::string, Monotonic> emptied_;  // dead nodes that had nothing left then
};

// What a process that ended without a word could not write into the timelines itself.
std::vector<TimelineEntry> ends_of(const std::vector<PresenceEvent>& events);

}  // namespace fieldgate::control
