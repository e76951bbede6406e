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
#include "gateway/ports/owners.h"
#include "gateway/ports/probes.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
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
  bool shared = false;                            // other nodes write into the same store
};

// The presence log in the store, and this node's part in it. Events come through the
// uplink log (JournalSink); what shards say directly (FleetSink) is kept until it has come
// that way, so that it can be said again if the log had to give records up.
// What there was no room to keep is not lost: once there is room, everything that is connected
// is said anew, and what the store believes to be is compared with it. The same is done when
// the store was set back under this process.
// Time stamps are gathered, and written as a device disconnects or else every flush_every.
// Thread: the members of FleetSink and Elsewhere, presence() and nodes() any; all else the store's, or before that
// starts. Borrows: worker, clock, log, probe, links; all outlive the worker's stop(). Bounds: devices_max devices;
// beyond them what is skipped is counted in the log.
class PresenceLog final : public JournalSink, public FleetSink, public Elsewhere {
 public:
  static constexpr std::size_t k_page = 1'000;  // rows or events at once
  static constexpr std::size_t k_stamps = 500;  // in one transaction
  static constexpr std::chrono::seconds k_replay_quiet{2};
  static constexpr std::chrono::seconds k_replay_max{60};

  // `node`: name, boot id, version and start of this process.
  PresenceLog(StoreWorker& worker, NodeRow node, const Clock& clock, Log& log, PresenceLimits limits,
              MembershipProbe& probe);
  // Takes the lease, and tells the sinks how every device was last heard of; waits. What earlier
  // boots of this node have left online is ended once the lane has nothing to read any more, for
  // the log may know better why a device left, or else k_replay_max later. Before the worker's
  // start(). Errors: the store's, but for Errc::unavailable: then it is done once the store
  // can be reached.
  Result<void> start(ControlLinks links);
  // Hands in the time stamps that were gathered; waits for what the worker is at, which is cut off
  // a second after `patience`. Before the worker's stop(), by who calls that.
  void stop(std::chrono::milliseconds patience);

  // JournalSink.
  void begin() override;
  void idle() override;
  Result<void> apply(DeviceStore&, const JournalRecord&) override { return {}; }
  Result<void> apply_presence(DeviceStore& store, std::span<const PresenceEvent> events) override;
  void committed() override;
  void missed() override;

  // FleetSink.
  void changed(std::vector<DeviceSummary> devices) override;
  void seen(std::vector<SeenUpdate> updates) override;

  // Elsewhere.
  void kick(const DeviceId& id, Reply<bool> reply) override;

  // Says everything that is connected here anew, and ends what the store has online of this
  // process and is not. Store thread.
  void reconcile();

  // As Timelines.
  void presence(const DeviceId& id, std::uint64_t before, std::size_t limit, Reply<std::vector<PresenceEvent>> reply);
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
  // What the store had when events were added to it, of devices that other nodes had.
  struct Others {
    std::vector<PresenceRow> newer;  // what is here is stale
    std::set<std::string> losers;    // nodes that a device has moved away from
  };

  using Told = std::function<void(const Result<void>&)>;

  void begin_telling(Told told);
  void end_earlier();
  void tell_rows(std::string after, Told told);
  Result<void> add(DeviceStore& store, std::span<const PresenceEvent> events, Others& others) const;
  void tell_others(const Others& others) const;
  PresenceEvent event_of(DeviceId device, const Untold& untold) const;
  void say_again();
  // `again`, one of the members below: set if the store did not take them.
  void say(std::vector<PresenceEvent> events, bool& again);
  void say_all(const std::vector<DeviceSummary>& devices);
  // What the store does not have of the firmware and labels of those that are connected.
  void say_profiles(const std::vector<DeviceSummary>& devices);
  void compare_rows(const std::string& after);
  void forget_told(std::string_view device, Epoch epoch, bool online);
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
  void leased(const Result<void>& outcome);
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
  MembershipProbe& probe_;

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
  Others others_;                    // the same
  Monotonic flushed_{};
  bool again_ = false;         // records were given up: what is untold must be said
  std::uint64_t skipped_ = 0;  // for want of room in untold_: reconcile() is due
  bool reconciling_ = false;   // rows are being compared
  bool unsaid_ = false;        // reconcile() came to nothing: again
  bool settled_ = false;       // the sinks know what the store does
  bool replayed_ = false;      // what earlier boots said is in the store, as far as the log has it
  Monotonic started_{};
  std::optional<Monotonic> idle_since_;  // of the lane
};

}  // namespace fieldgate::control
