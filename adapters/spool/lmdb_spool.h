// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/block_cache.h"
#include "adapters/spool/committer.h"
#include "adapters/spool/log_tail.h"
#include "adapters/spool/notes.h"
#include "gateway/core/error.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/spool.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace fieldgate::spool {

struct LmdbSpoolSettings {
  std::string dir;
  // Of live blocks. The file may grow to a quarter more, and to what devices and
  // dead letters need.
  std::uint64_t bytes_max = 1'073'741'824;
  // Half of it for what is not durable yet and what was appended last, a quarter
  // for what was fetched back; the rest is what lanes hold of both.
  std::uint64_t memory_bytes_max = 268'435'456;
  std::chrono::milliseconds commit_every{5};
  std::uint32_t commit_records = 1'000;
  std::uint64_t dead_letter_bytes_max = 67'108'864;
};

// Keeps the uplink log, the devices' marks and the dead letters in an LMDB file.
// One thread writes, in groups: what came within commit_every, or commit_records,
// is one transaction. One thread reads what is no longer in memory.
//
// Full disk: nothing is lost and nothing claimed; tried again every second and
// whenever something was given up. Any other fault of the medium is for good.
//
// Threads: as Spool. Errors: as Spool; those of the medium also in usage().
class LmdbSpool final : public Spool {
 public:
  // Errors: the directory cannot be used, or what is in it is not ours or damaged;
  // the text names path, cause and what to do, and nothing there was changed.
  // `clock` and `log` outlive this.
  static Result<std::unique_ptr<LmdbSpool>> make(const LmdbSpoolSettings& settings, const Clock& clock, Log& log);
  ~LmdbSpool() override;

  Result<SpoolRecovery> recover() override;
  Result<RecordBlockPtr> load(LogPosition from) const override;
  void open(SpoolEvents& events) override;
  void close() override;
  Result<LogPosition> append(std::shared_ptr<RecordBlock> block) override;
  RecordBlockPtr read(LogPosition from) const override;
  void trim(LogPosition through) override;
  SpoolUsage usage() const override;
  LogPosition durable_through() const override;
  bool durable() const noexcept override { return true; }
  void save_lanes(std::vector<SavedLane> lanes) override;
  void save_devices(std::vector<DeviceMarks> changed, std::vector<DeviceId> gone, LogPosition through) override;
  LogPosition checkpoint() const override;

  // Lives as long as this. What is added after close() is not kept.
  DeadLetterStore& dead_letters();
  const SpoolProbe& probe() const;

 private:
  LmdbSpool(const LmdbSpoolSettings& settings, const Clock& clock, Log& log, std::unique_ptr<Environment> environment);
  Result<void> start();
  // What a look at the disk has brought.
  struct Fetched {
    std::vector<RecordBlockPtr> blocks;  // the first holds the position asked for, or comes after it
    std::string fault;                   // with path and position
  };
  Fetched fetch(LogPosition from, LogPosition before, std::uint64_t bytes_max) const;
  RecordBlockPtr at_hand(LogPosition from) const REQUIRES(mutex_);
  void request(LogPosition from) const REQUIRES(mutex_);
  void read_loop();
  void write_loop();
  bool take(Work& work);
  void settle(Committer::Verdict verdict, Monotonic begun);
  std::optional<Monotonic> due() const REQUIRES(mutex_);
  bool trims_wait() const REQUIRES(mutex_);
  void note(Note note, bool urgent);
  void change_state(SpoolState state, const std::string& error) REQUIRES(mutex_);
  void fail(const std::string& error);

  const LmdbSpoolSettings settings_;
  const Clock& clock_;
  Log& log_;
  const std::uint64_t boot_;  // of this process, at random: whose sessions a block still knows
  SpoolProbe probe_;
  const std::unique_ptr<Environment> environment_;
  const std::unique_ptr<LmdbDeadLetters> letters_;
  const std::unique_ptr<Committer> committer_;  // the writer's, once it runs
  SpoolEvents* events_ = nullptr;               // fixed by open()
  std::deque<Note> unwritten_notes_;            // the writer's

  mutable Mutex mutex_;  // never held across a wait for the disk or a call of events_
  std::condition_variable_any work_;
  mutable std::condition_variable_any requested_;
  LogTail tail_ GUARDED_BY(mutex_);
  mutable BlockCache cache_ GUARDED_BY(mutex_);
  mutable std::deque<LogPosition> requests_ GUARDED_BY(mutex_);
  LogPosition fetching_ GUARDED_BY(mutex_);  // what the reader is at; 0: nothing
  std::deque<Note> notes_ GUARDED_BY(mutex_);
  bool notes_urgent_ GUARDED_BY(mutex_) = false;  // more than lanes
  bool notes_left_ GUARDED_BY(mutex_) = false;    // some of unwritten_notes_ may be written
  LogPosition trim_through_ GUARDED_BY(mutex_);
  Committed committed_ GUARDED_BY(mutex_);
  std::uint64_t live_bytes_ GUARDED_BY(mutex_) = 0;
  // Since when something waits, where it does.
  Monotonic blocks_since_ GUARDED_BY(mutex_);
  Monotonic notes_since_ GUARDED_BY(mutex_);
  Monotonic trim_since_ GUARDED_BY(mutex_);
  Monotonic retry_at_ GUARDED_BY(mutex_);  // while full
  SpoolState state_ GUARDED_BY(mutex_) = SpoolState::ok;
  std::string error_ GUARDED_BY(mutex_);
  bool open_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  bool given_up_ GUARDED_BY(mutex_) = false;  // closing, and the rest cannot be written

  std::thread writer_;
  std::thread reader_;
};

}  // namespace fieldgate::spool
