// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/lane_filter.h"
#include "gateway/core/mutex.h"
#include "gateway/core/restored_device.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/lane_control.h"
#include "gateway/ports/log.h"
#include "gateway/ports/spool.h"
#include "gateway/ports/uplink.h"
#include "gateway/uplink/lane_cursor.h"
#include "gateway/uplink/log_outline.h"
#include "gateway/uplink/stream_ledger.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::uplink {

struct LaneSpec {
  Lane* lane = nullptr;
  LaneFilter filter;
  std::chrono::seconds max_age{0};  // records received longer ago expire; 0: never
};

struct UplinkTiming {
  // Between two checkpoints of the devices' marks; sooner where much is written.
  std::chrono::seconds checkpoint_every{30};
};

// The way north: shards put blocks in, lanes read them each at its own pace, and
// a block that every required lane has completed is told to the shard it came
// from and given up. Where the spool is durable, what it keeps of lanes and devices
// lets the next process go on from there.
// Thread:  any, except where noted. One mutex, held for a few instructions and taken
//          before the spool's own; sinks and lanes are called without it. Whichever
//          thread finds something to tell tells it, one thread at a time for each
//          Track, so that a sink hears blocks in the log's order and levels in
//          theirs. A shard's submit() tells levels only.
// Borrows: spool, dead letters, lanes, clock, log and the attached sinks; all must
//          outlive stop(), and the spool's threads end there.
// Bounds:  the spool's. A best-effort lane (not required) that lags while the log
//          is more than half full loses its oldest unread records: they count as
//          skipped. What a lane has not read within its max_age counts as expired.
//          Its next read finds the first block that was not given up.
class UplinkLog final : public Uplink, public LaneControl, private SpoolEvents {
 public:
  UplinkLog(Spool& spool, DeadLetterStore& letters, std::vector<LaneSpec> lanes, UplinkTiming timing,
            const Clock& clock, Log& log);
  ~UplinkLog() override;

  // Reads what an earlier process left: each lane goes on where it was, one that is
  // new begins at the log's end, one that is gone is forgotten. Waits for the disk.
  // Once, before all that follows.
  // Errors: the spool's, naming the damage; two lanes of one name; more than
  // k_lanes_max lanes.
  Result<void> recover();
  // Every device in the log's memory, once. Between recover() and start().
  std::vector<RestoredDevice> take_restored();
  // Each lane's filter under its slot. From recover() on.
  std::shared_ptr<const LaneFilters> filters() const noexcept { return filters_; }

  // Who hears of blocks of `shard`; shard 0 also of those of an earlier process.
  // Before start(), from one thread.
  void attach(std::uint32_t shard, StageSink& sink);
  // Opens the spool and lets every lane begin to read.
  void start();
  // Stops every lane, waiting at most `patience` in all for their farewells, saves
  // where they stand and closes the spool. What has not been completed stays in it.
  void stop(std::chrono::milliseconds patience);
  // What is due by the clock: expiry, checkpoints, levels. About once a second.
  void tick();

  // Errors: Errc::full; data, not presence, also above 95 % of a durable spool's
  // bytes. Errc::unavailable once the spool has failed.
  Result<void> submit(std::shared_ptr<RecordBlock> block) override;
  UplinkLevel level() const noexcept override { return level_.load(std::memory_order_relaxed); }
  // Unspecified: spooled where the spool outlives the process and has not failed, else
  // as forwarded. Forwarded: so if there is a required lane; else the best there is.
  AckStage grant(AckStage wanted) const noexcept override;

  // Records that a required lane has not completed: what a drain waits for.
  std::uint64_t pending() const;
  // Records that would not survive the process yet; always 0 for a spool that does
  // not outlive it.
  std::uint64_t unsaved() const;
  SpoolUsage usage() const { return spool_.usage(); }
  bool durable() const noexcept { return durable_; }
  // In the order of the constructor's lanes, with the log's figures filled in:
  // records in = forwarded + filtered + dead-lettered + expired + skipped + pending.
  std::vector<LaneStatus> lanes() const;

  // As LaneControl. Replaying twice at once may send twice. One more error of replay():
  // Errc::invalid_argument if its lane would let the record expire or filter it out.
  Result<void> pause(std::string_view lane) override { return set_paused(lane, true); }
  Result<void> resume(std::string_view lane) override { return set_paused(lane, false); }
  const DeadLetterStore& dead_letters() const override { return letters_; }
  Result<void> replay(std::uint64_t id) override;
  Result<void> discard(std::uint64_t id) override;
  // Stops at the first letter that cannot be replayed. next_after is that letter
  // itself, so that going on passes it over; but where the log took no more, the one
  // before it.
  Bulk replay_all(const DeadLetterQuery& query) override;
  Bulk discard_all(const DeadLetterQuery& query) override;

 private:
  class Feed;

  struct LaneEntry {
    LaneSpec spec;
    std::uint32_t slot = 0;
    std::unique_ptr<Feed> feed;
  };
  // What changes about a lane.
  struct Place {
    LaneCursor cursor;
    bool paused = false;
    bool waiting = false;  // for a block that is being fetched
  };

  // What is told independently of each other: levels and faults, blocks that became
  // durable, blocks that were forwarded.
  enum class Track : std::uint8_t { levels, spooled, forwarded };
  // One thing to tell; an empty one: nothing.
  struct Word {
    enum class What : std::uint8_t { nothing, skipped, expired, state, level, block, checkpoint };
    What what = What::nothing;
    std::uint64_t records = 0;
    SpoolState state = SpoolState::ok;
    std::string error;
    UplinkLevel level = UplinkLevel::normal;
    AckStage stage = AckStage::unspecified;
    RecordBlockPtr block;
    LogPosition through;
  };

  void durable_advanced() override;
  void readable() override;
  void usage_changed() override;

  Result<void> place_lanes(const std::vector<SavedLane>& saved, LogPosition before);
  Result<void> survey(LogPosition end);
  Result<void> replay_log(LogPosition from);

  RecordBlockPtr read(std::size_t lane, LogPosition from);
  void completed(std::size_t lane, LogPosition through, const LaneOutcome& outcome);
  Result<void> append(std::shared_ptr<RecordBlock> block);
  Result<void> set_paused(std::string_view lane, bool paused);
  Result<void> replay(const DeadLetter& letter);

  void notify_waiting();
  void tell(Track track);
  Word next_word(Track track) REQUIRES(mutex_);
  Word next_level_word() REQUIRES(mutex_);
  Word next_spooled_word() REQUIRES(mutex_);
  Word next_forwarded_word() REQUIRES(mutex_);
  void say(const Word& word);
  void say_state(const Word& word);
  void say_level(UplinkLevel level);
  void say_block(AckStage stage, const RecordBlockPtr& block);

  LogPosition forwarded_through() const REQUIRES(mutex_);
  LogPosition tellable_through() const REQUIRES(mutex_);
  LogPosition told_through() const REQUIRES(mutex_);
  bool checkpoint_due() const REQUIRES(mutex_);
  void make_room() REQUIRES(mutex_);
  void expire() REQUIRES(mutex_);
  void trim() REQUIRES(mutex_);
  void refresh_level() REQUIRES(mutex_);
  void save_lanes(bool now) REQUIRES(mutex_);

  Spool& spool_;
  DeadLetterStore& letters_;
  const UplinkTiming timing_;
  const Clock& clock_;
  Log& log_;
  const bool durable_;
  bool required_ = false;         // there is a required lane
  bool started_ = false;          // start() and stop() alone look
  std::vector<LaneEntry> lanes_;  // fixed by recover()
  std::shared_ptr<const LaneFilters> filters_ = std::make_shared<LaneFilters>();
  std::vector<StageSink*> sinks_;  // by shard; fixed by start()
  std::atomic<UplinkLevel> level_{UplinkLevel::normal};
  std::atomic<bool> failed_{false};  // the spool, for good
  StreamLedger ledger_;              // of the thread that tells Track::spooled

  mutable Mutex mutex_;
  std::vector<Place> places_ GUARDED_BY(mutex_);  // one for each of lanes_
  LogOutline outline_ GUARDED_BY(mutex_);
  LogPosition last_ GUARDED_BY(mutex_);  // of the newest record
  LogPosition trimmed_ GUARDED_BY(mutex_);
  LogPosition told_forwarded_ GUARDED_BY(mutex_);
  // Dead letters of required lanes are of records in (buried_after_, buried_], unless
  // all of these are durable.
  LogPosition buried_after_ GUARDED_BY(mutex_);
  LogPosition buried_ GUARDED_BY(mutex_);
  LogPosition told_spooled_ GUARDED_BY(mutex_);
  UplinkLevel told_level_ GUARDED_BY(mutex_) = UplinkLevel::normal;
  SpoolState state_ GUARDED_BY(mutex_) = SpoolState::ok;
  SpoolState told_state_ GUARDED_BY(mutex_) = SpoolState::ok;
  std::string error_ GUARDED_BY(mutex_);  // why state_ is not ok
  std::uint64_t untold_skips_ GUARDED_BY(mutex_) = 0;
  std::uint64_t untold_expiries_ GUARDED_BY(mutex_) = 0;
  std::array<bool, 3> telling_ GUARDED_BY(mutex_) = {};  // by Track: some thread is in tell()
  bool lanes_changed_ GUARDED_BY(mutex_) = false;        // since they were saved
  Monotonic lanes_saved_ GUARDED_BY(mutex_);
  LogPosition checkpoint_asked_ GUARDED_BY(mutex_);  // the last one given to the spool
  Monotonic checkpoint_asked_at_ GUARDED_BY(mutex_);
  std::uint64_t bytes_since_checkpoint_ GUARDED_BY(mutex_) = 0;
  bool checkpoint_wanted_ GUARDED_BY(mutex_) = false;  // now, whatever the clock says
};

}  // namespace fieldgate::uplink
