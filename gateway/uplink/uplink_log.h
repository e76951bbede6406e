// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/log.h"
#include "gateway/ports/spool.h"
#include "gateway/ports/uplink.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace fieldgate::uplink {

// The way north: shards put blocks in, lanes read them each at its own pace, and
// a block that every required lane has completed is told to the shard it came
// from and given up.
// Thread:  any, except where noted. One mutex, held for a few instructions;
//          sinks and lanes are called without it. Whichever thread finds
//          something to tell tells it, one thread at a time, so that a sink hears
//          blocks in the log's order and levels in theirs.
// Borrows: spool, lanes, clock, log and the attached sinks; all must outlive stop().
// Bounds:  the spool's. A best-effort lane (not required) that lags while the log
//          is more than half full loses its oldest unread records: they count as
//          skipped, and its next read finds the first block kept.
class UplinkLog final : public Uplink {
 public:
  // Lanes' cursors begin at the spool's first record.
  UplinkLog(Spool& spool, std::vector<Lane*> lanes, const Clock& clock, Log& log);
  ~UplinkLog() override;

  // Who hears of blocks of `shard`. Before start(), from one thread.
  void attach(std::uint32_t shard, StageSink& sink);
  // Lets every lane begin to read.
  void start();
  // Stops every lane, waiting at most `patience` in all for their farewells. What
  // has not been completed stays in the spool.
  void stop(std::chrono::milliseconds patience);

  Result<void> submit(std::shared_ptr<RecordBlock> block) override;
  UplinkLevel level() const noexcept override { return level_.load(std::memory_order_relaxed); }
  // Unspecified: spooled where the spool outlives the process, else as forwarded.
  // Forwarded: so if there is a required lane; else the best there is.
  AckStage grant(AckStage wanted) const noexcept override;

  // Records that a required lane has not completed: what a drain waits for.
  std::uint64_t pending() const;
  SpoolUsage usage() const { return spool_.usage(); }
  // In the order of the constructor's lanes, with the log's figures filled in:
  // records in = forwarded + filtered + dead-lettered + expired + skipped + pending.
  std::vector<LaneStatus> lanes() const;

  // The spool's durable_through() has risen. Called by whoever commits.
  void durable_advanced();

 private:
  class Feed;

  // Where a lane stands. completed <= handed; what lies between is in its hands.
  struct Cursor {
    Lane* lane = nullptr;
    bool required = true;
    LogPosition completed;
    LogPosition handed;
    LogPosition given_up;             // unread records up to here are skipped
    std::uint64_t skipped_ahead = 0;  // of those, beyond `completed`
    std::uint64_t skipped = 0;
    LaneOutcome account;
  };

  // One thing to tell: skipped records to the log, or a block to its shard's sink,
  // or else a level to every sink.
  struct Word {
    std::uint64_t skipped = 0;
    UplinkLevel level = UplinkLevel::normal;
    AckStage stage = AckStage::unspecified;
    RecordBlockPtr block;
  };

  RecordBlockPtr read(std::size_t lane, LogPosition from);
  void completed(std::size_t lane, LogPosition through, const LaneOutcome& outcome);
  void tell();
  bool next_word(Word& word) REQUIRES(mutex_);
  void say(const Word& word);
  LogPosition forwarded_through() const REQUIRES(mutex_);
  LogPosition told_through() const REQUIRES(mutex_);
  void make_room() REQUIRES(mutex_);
  void trim() REQUIRES(mutex_);
  std::uint64_t pending(const Cursor& cursor) const REQUIRES(mutex_);

  Spool& spool_;
  const Clock& clock_;
  Log& log_;
  const bool durable_;
  bool required_ = false;                     // there is a required lane
  std::vector<Lane*> lanes_;                  // fixed by the constructor
  std::vector<std::unique_ptr<Feed>> feeds_;  // one for each lane
  std::vector<StageSink*> sinks_;             // by shard; fixed by start()
  std::atomic<UplinkLevel> level_{UplinkLevel::normal};

  mutable Mutex mutex_;  // taken before the spool's own
  std::vector<Cursor> cursors_ GUARDED_BY(mutex_);
  LogPosition last_ GUARDED_BY(mutex_);  // of the newest record
  LogPosition trimmed_ GUARDED_BY(mutex_);
  LogPosition told_forwarded_ GUARDED_BY(mutex_);
  LogPosition told_spooled_ GUARDED_BY(mutex_);
  UplinkLevel told_level_ GUARDED_BY(mutex_) = UplinkLevel::normal;
  std::uint64_t untold_skips_ GUARDED_BY(mutex_) = 0;
  bool telling_ GUARDED_BY(mutex_) = false;  // some thread is in tell()
};

}  // namespace fieldgate::uplink
