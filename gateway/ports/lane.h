// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"
#include "gateway/ports/clock.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace fieldgate {

enum class LaneState : std::uint8_t { connecting, running, backing_off, paused, stopped };
std::string_view to_string(LaneState state) noexcept;

// How a lane is doing, for people.
struct LaneStatus {
  std::string name;
  std::string type;         // "mqtt", "webhook"
  std::string destination;  // host:port, never a secret
  bool required = true;
  LaneState state = LaneState::connecting;
  std::int64_t since_unix_ms = 0;  // of `state`
  bool held = false;               // paused by an operator, whatever the state
  std::string last_error;          // empty: none yet
  // What the lane found waiting when the process began, and all since: the sum of
  // the six below.
  std::uint64_t records_in = 0;
  std::uint64_t pending_records = 0;
  std::int64_t oldest_pending_ms = 0;  // age; 0: nothing pending
  std::uint64_t forwarded_records = 0;
  std::uint64_t filtered_records = 0;
  std::uint64_t dead_lettered_records = 0;
  std::uint64_t expired_records = 0;
  std::uint64_t skipped_records = 0;  // best effort only: given up unread, for want of room
};

// What happened to a stretch of records in one lane. The account per lane is
// records in = filtered + forwarded + dead_lettered + expired + skipped + pending,
// where the log itself counts what was skipped and what is pending.
struct LaneOutcome {
  std::uint64_t forwarded = 0;
  std::uint64_t filtered = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t expired = 0;
};

// What a lane sees of the uplink log. Any thread; none of its members waits.
class LaneFeed {
 public:
  virtual ~LaneFeed() = default;
  // The block that holds `from` or, where that was given up (skipped or expired),
  // the first kept after it; nullptr if there is none yet, or it must be fetched:
  // notify() will tell. Keep the block until it is completed: a second read may
  // find it gone.
  virtual RecordBlockPtr read(LogPosition from) const = 0;
  // What the lane is to do with a record, before it looks any closer.
  enum class Fate : std::uint8_t { send, filter, expire };
  virtual Fate fate(const RecordView& record) const noexcept = 0;
  // Where this lane starts reading.
  virtual LogPosition start() const = 0;
  // Every record <= `through` is done with, in this lane; `outcome` counts those
  // since the last call. `through` rises and always ends a block.
  virtual void completed(LogPosition through, const LaneOutcome& outcome) = 0;
};

// One northbound destination, with its own thread.
class Lane {
 public:
  virtual ~Lane() = default;
  virtual const std::string& name() const noexcept = 0;
  virtual bool required() const noexcept = 0;
  // Begins to read from `feed`, which outlives stop().
  virtual void start(LaneFeed& feed) = 0;
  // There may be something new to read. Any thread; cheap when repeated.
  virtual void notify() noexcept = 0;
  // Held, it begins nothing new; what is on its way is concluded. Any thread, also
  // before start().
  virtual void hold(bool held) noexcept = 0;
  // Any thread. The record counts and ages are filled in by the uplink log.
  virtual LaneStatus status() const = 0;
  // Says farewell to the far side, waits at most `patience` for that, and joins
  // its thread. What has not been completed stays in the log.
  virtual void stop(std::chrono::milliseconds patience) = 0;
};

}  // namespace fieldgate
