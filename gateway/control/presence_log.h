// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/journal_lane.h"
#include "gateway/control/links.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/log.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fieldgate::control {

struct PresenceLimits {
  std::chrono::seconds lease{15};
  std::uint64_t events_max = 1'000'000;           // kept in the store
  std::uint32_t timeline_entries = 100;           // kept per device
  std::chrono::milliseconds flush_every{60'000};  // of time stamps
  std::size_t devices_max = 200'000;              // of which something is known here that the store may not know yet
};

// The presence log in the store, and this node's part in it. Events come through the
// uplink log (JournalSink); what shards say directly (FleetSink) is kept until it has come
// that way, so that it can be said again if the log had to give records up.
// Time stamps are gathered, and written as a device disconnects or else every flush_every.
// Thread: FleetSink's members, presence() and nodes() any; all else the store's, or before that starts.
// Borrows: worker, clock, log, links; all outlive the worker's stop().
// Bounds: devices_max devices.
class PresenceLog final : public JournalSink, public FleetSink {
 public:
  static constexpr std::size_t k_page = 1'000;  // rows or events at once
  static constexpr std::size_t k_stamps = 500;  // in one transaction

  // `node`: name, boot id, version and start of this process.
  PresenceLog(StoreWorker& worker, NodeRow node, const Clock& clock, Log& log, PresenceLimits limits);
  // Takes the lease, ends what earlier boots of this node have left online, and tells the sinks
  // how every device was last heard of; waits. Before the worker's start(). Errors: the
  // store's, but for Errc::unavailable: then it is done once the store can be reached.
  Result<void> start(ControlLinks links);
  // Hands in the time stamps that were gathered. Before the worker's stop(), by who calls that.
  void stop();

  // JournalSink.
  void begin() override { applied_.clear(); }
  Result<void> apply(DeviceStore&, const JournalRecord&) override { return {}; }
  Result<void> apply_presence(DeviceStore& store, std::span<const PresenceEvent> events) override;
  void committed() override;
  void missed() override;

  // FleetSink.
  void changed(std::vector<DeviceSummary> devices) override;
  void seen(std::vector<SeenUpdate> updates) override;

  // As Timelines.
  void presence(const DeviceId& id, std::uint64_t after, std::size_t limit, Reply<std::vector<PresenceEvent>> reply);
  void nodes(Reply<std::vector<NodeRow>> reply);

 private:
  // The newest that a shard said of a device, until the store has it.
  struct Untold {
    Epoch epoch;
    bool online = false;
    std::int64_t unix_ms = 0;
    std::string reason;
  };
  struct Mark {
    std::string device;
    Epoch epoch;
    bool online = false;
  };

  using Told = std::function<void(const Result<void>&)>;

  void end_earlier(Told told);
  void tell_rows(std::string after, Told told);
  void say_again();
  void say(const std::shared_ptr<std::vector<PresenceEvent>>& events);
  void call();
  void take_inbox();
  void note(const DeviceSummary& device);
  void stamp(SeenUpdate update, bool soon);
  void tick();
  void flush(bool all);
  void write_stamps();
  std::shared_ptr<std::vector<SeenUpdate>> take_stamps();
  void renew();
  void renew_again();
  void tidy_again();
  void trim();
  void run(StoreWorker::Job job, StoreWorker::Done done);
  template <class T>
  void ask(std::function<Result<T>(DeviceStore&)> question, Reply<T> reply);

  StoreWorker& worker_;
  const NodeRow node_;
  const Clock& clock_;
  Log& log_;
  const PresenceLimits limits_;

  Mutex mutex_;
  std::vector<DeviceSummary> changed_ GUARDED_BY(mutex_);
  std::vector<SeenUpdate> seen_ GUARDED_BY(mutex_);
  std::uint64_t dropped_ GUARDED_BY(mutex_) = 0;
  std::atomic<bool> called_{false};  // take_inbox() is posted

  // The store thread's.
  ControlLinks links_;
  std::unordered_map<std::string, Untold> untold_;
  std::unordered_map<std::string, SeenUpdate> stamps_;
  std::vector<DeviceId> leaving_;    // whose stamps are to be written soon
  std::vector<SeenUpdate> writing_;  // taken out of stamps_, and not with the worker yet
  std::vector<Mark> applied_;        // in the transaction that runs
  Monotonic flushed_{};
  bool again_ = false;    // records were given up: what is untold must be said
  bool settled_ = false;  // what earlier boots left is ended, and the sinks know
};

}  // namespace fieldgate::control
