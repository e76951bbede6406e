// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/store_worker.h"
#include "gateway/core/mutex.h"
#include "gateway/core/presence_event.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/wire.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace fieldgate::control {

// What a device said, as the log has it.
struct JournalRecord {
  DeviceId device;
  StreamId stream;
  Seq seq;
  Epoch epoch;
  std::int64_t received_unix_ms = 0;
  DeviceReply reply;
};

// Takes what devices said from the log into the store. Each record comes at least
// once, in the log's order; one that was committed may come again after a restart, and
// so must change nothing then. Every sink sees every record, and passes over what
// is not for it.
// Thread: the store's.
class JournalSink {
 public:
  virtual ~JournalSink() = default;
  // A transaction begins: what was gathered for committed() and not committed is void.
  virtual void begin() {}
  // Errors: the store's alone, unchanged. A record that makes no sense is passed over.
  virtual Result<void> apply(DeviceStore& store, const JournalRecord& record) = 0;
  virtual Result<void> apply_presence(DeviceStore&, std::span<const PresenceEvent>) { return {}; }
  // Everything applied since begin() is in the store.
  virtual void committed() {}
  // The lane found nothing to read, now that all it had read is in the store. More may be on
  // its way from a disk.
  virtual void idle() {}
  // Records were given up before the lane had read them, or presence could not be taken.
  virtual void missed() {}
};

// The store as a lane of the uplink log, by the name "store", best effort: presence,
// command replies and states go into the store, in order; everything else is filtered.
// A record that cannot be read, or that the store refuses, becomes a dead letter. While the store is
// unavailable it backs off, and keeps what it has read; so it does where the store cannot read its
// own (Errc::malformed).
// Thread:  the members of Lane as said there; all else on the store's thread.
// Borrows: worker, sinks, reader, dead letters, clock, log. stop() before the worker's.
// Bounds:  one transaction at a time, of at most k_records_max records and k_bytes_max bytes.
class JournalLane final : public Lane {
 public:
  // In one transaction, and what is over in the last block.
  static constexpr std::size_t k_records_max = 1'000;
  static constexpr std::size_t k_bytes_max = 4 << 20;
  static constexpr std::size_t k_blocks_per_turn = 64;

  JournalLane(StoreWorker& worker, const RecordReader& reader, DeadLetterStore& dead_letters, const Clock& clock,
              Log& log);
  // Before start(). Sinks are called in the order of these calls.
  void add(JournalSink& sink);

  const std::string& name() const noexcept override { return name_; }
  bool required() const noexcept override { return false; }
  void start(LaneFeed& feed) override;
  void notify() noexcept override;
  void hold(bool held) noexcept override;
  LaneStatus status() const override;
  // Goes on to the end of the log, for at most `patience`.
  void stop(std::chrono::milliseconds patience) override;

 private:
  using Content = std::variant<PresenceEvent, JournalRecord>;
  // A record of a block in hand that goes into the store.
  struct Wanted {
    RecordBlockPtr block;
    std::size_t at = 0;
    Content what;
  };

  void pump();
  void pump_later();
  bool read_block();
  void sort(const RecordBlockPtr& block, std::size_t at);
  Result<Content> read_presence(const RecordView& view) const;
  Result<Content> read_reply(const RecordView& view) const;
  void bury(const RecordView& view, std::string reason, std::string detail);
  void missed();
  void send();
  Result<void> apply(DeviceStore& store, std::size_t count);
  void applied(std::size_t count, const Result<void>& outcome);
  void pause(const Error& error);
  void complete();
  void set_state(LaneState state);

  const std::string name_ = "store";
  StoreWorker& worker_;
  const RecordReader& reader_;
  DeadLetterStore& dead_letters_;
  const Clock& clock_;
  Log& log_;
  std::vector<JournalSink*> sinks_;  // fixed by start()

  std::atomic<bool> notified_{false};

  // The store thread's.
  LaneFeed* feed_ = nullptr;
  Monotonic pumped_{};
  Monotonic resume_at_ = Monotonic::min();  // what the store holds was found damaged
  LogPosition next_;                        // to be read
  LogPosition through_;                     // read
  LogPosition completed_;                   // told to the log
  LaneOutcome outcome_;                     // of what is done with and not told
  std::vector<Wanted> wanted_;
  std::size_t bytes_ = 0;  // of their payloads
  std::size_t done_ = 0;   // of wanted_, from the front
  bool singly_ = false;    // one record in a transaction, for one of them is refused
  bool busy_ = false;      // a job waits or runs
  bool later_ = false;     // pump_later() is under way
  bool held_ = false;
  std::function<void()> drained_;  // set: the lane is to end

  mutable Mutex mutex_;
  LaneStatus status_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::control
