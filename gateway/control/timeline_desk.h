// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/presence_log.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/control.h"
#include "gateway/ports/flight_recorder.h"
#include "gateway/ports/log.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace fieldgate::control {

struct TimelineLimits {
  std::uint32_t entries = 100;     // kept per device
  std::size_t refusals = 1'000;    // kept, in memory
  std::size_t queue_max = 20'000;  // entries on their way to the store
  std::size_t batch_max = 1'000;   // in one job
  std::chrono::milliseconds flush_every{250};
};

// The flight recorder: takes entries from any thread into a queue, and writes them to the
// store as flush_every passes or batch_max have come.
// Thread:  any; the constructor before the worker's start().
// Borrows: all of the constructor's, which outlive this; this outlives the worker's thread.
// Bounds:  TimelineLimits. An entry that the queue has no room for, or that the store cannot
//          take, is dropped; how many, the log says. A field beyond TimelineEntry's bounds is cut.
// Errors:  while the store cannot be reached, entries wait. One may be there twice, if it
//          went away in the middle of a commit.
class TimelineDesk final : public Timelines, public FlightRecorder {
 public:
  TimelineDesk(StoreWorker& worker, PresenceLog& presence, const TimelineLimits& limits, Log& log);
  // Hands what is queued to the worker; before its stop() as well.
  void hand_in();

  // What was recorded before is in the answer, if the store takes it.
  void timeline(const DeviceId& id, std::uint64_t before, std::size_t limit,
                Reply<std::vector<TimelineEntry>> reply) override;
  void presence(const DeviceId& id, std::uint64_t before, std::size_t limit,
                Reply<std::vector<PresenceEvent>> reply) override {
    presence_.presence(id, before, limit, std::move(reply));
  }
  std::vector<RefusalEntry> refusals(std::size_t limit) const override;
  void nodes(Reply<std::vector<NodeRow>> reply) override { presence_.nodes(std::move(reply)); }

  void record(TimelineEntry entry) override;
  void refused(RefusalEntry refusal) override;

 private:
  using Batch = std::shared_ptr<std::vector<TimelineEntry>>;
  void tick();
  // True if a batch has gone to the worker.
  bool flush();
  void send(const Batch& batch);
  void written(const Batch& batch, const Result<void>& outcome);
  void put_back(const Batch& batch);

  StoreWorker& worker_;
  PresenceLog& presence_;
  const TimelineLimits limits_;
  Log& log_;

  mutable Mutex mutex_;
  std::deque<TimelineEntry> queue_ GUARDED_BY(mutex_);  // `number`: in which order they came
  std::size_t writing_ GUARDED_BY(mutex_) = 0;          // entries that are with the worker
  std::uint64_t next_ GUARDED_BY(mutex_) = 0;
  std::uint64_t dropped_ GUARDED_BY(mutex_) = 0;
  std::deque<RefusalEntry> refusals_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::control
