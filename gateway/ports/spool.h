// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_marks.h"
#include "gateway/core/error.h"
#include "gateway/core/record.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate {

// Whether the medium can still be written.
enum class SpoolState : std::uint8_t {
  ok,
  full,    // the disk, not the budget: nothing becomes durable until there is room; recovers by itself
  failed,  // a write or fsync failed, or what was read is damaged: over until the process starts anew
};
std::string_view to_string(SpoolState state) noexcept;
inline constexpr std::size_t k_spool_states = 3;

struct SpoolUsage {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  // taken of bytes_max
  std::uint64_t bytes_max = 0;
  // Waiting to become durable; a spool that does not outlive the process: 0.
  std::uint64_t unsaved_bytes = 0;
  std::uint64_t unsaved_bytes_max = 0;
  LogPosition first;  // oldest kept; next if empty
  LogPosition next;   // the position that the next record will get
  SpoolState state = SpoolState::ok;
  std::string error;  // why it is not ok, with path and cause
};

// Where a lane stood, by name.
struct SavedLane {
  std::string name;
  std::uint32_t slot = 0;  // in LaneSet; below k_lanes_max
  LogPosition completed;
  bool paused = false;  // by an operator
  friend bool operator==(const SavedLane&, const SavedLane&) = default;
};

// What an earlier process left behind.
struct SpoolRecovery {
  std::vector<SavedLane> lanes;
  // The devices, as of `checkpoint`; what came after it is in the log.
  std::vector<DeviceMarks> devices;
  LogPosition checkpoint;
};

// Hears what the spool does in its own time.
// Thread: the spool's; may call the spool back.
class SpoolEvents {
 public:
  virtual ~SpoolEvents() = default;
  virtual void durable_advanced() = 0;
  // A block that read() did not have at hand is there now.
  virtual void readable() = 0;
  // usage() says something else than before: space was given back, or state changed.
  virtual void usage_changed() = 0;
};

// Where the uplink log keeps its records: an ordered, bounded sequence of blocks.
// Thread: every member from any thread, except where noted; none of them waits,
// for the disk least of all.
// Bounds: bytes_max.
class Spool {
 public:
  virtual ~Spool() = default;

  // What an earlier process left; a spool without memory of one: nothing.
  // Before open(), once; may wait for the disk.
  virtual Result<SpoolRecovery> recover() = 0;
  // As read(), but waits for the disk: for what happens before open() only.
  // Errors: a damaged block, naming it.
  virtual Result<RecordBlockPtr> load(LogPosition from) const = 0;
  // Begins to work. `events` outlives close().
  virtual void open(SpoolEvents& events) = 0;
  // Makes durable what can be, and stops. Waits for the disk. After it nothing is
  // told to `events`. Idempotent.
  virtual void close() = 0;

  // Gives `block` its positions and keeps it. Blocks from one thread keep their
  // order. Errors: Errc::full, and `block` is as it was; Errc::unavailable once
  // the medium has failed.
  virtual Result<LogPosition> append(std::shared_ptr<RecordBlock> block) = 0;

  // The block that holds `from`, or the first kept after it; nullptr at the end,
  // and where it must be fetched first: readable() tells when it is there.
  virtual RecordBlockPtr read(LogPosition from) const = 0;

  // Gives up every block whose last position is <= `through`, as soon as may be.
  virtual void trim(LogPosition through) = 0;

  virtual SpoolUsage usage() const = 0;

  // Everything <= this survives the process: what the SPOOLED stage rests on.
  // 0 for a spool that does not outlive it.
  virtual LogPosition durable_through() const = 0;

  // Whether it outlives the process at all. Never changes.
  virtual bool durable() const noexcept = 0;

  // Keeps the lanes for recover(); what is saved later replaces it. Soon, and never
  // ahead of the records: no lane is kept at a position that is not durable.
  virtual void save_lanes(std::vector<SavedLane> lanes) = 0;

  // Keeps `changed` and forgets `gone`; once all of it is durable the checkpoint is
  // `through`. Precondition: everything <= `through` is durable.
  virtual void save_devices(std::vector<DeviceMarks> changed, std::vector<DeviceId> gone, LogPosition through) = 0;
  // The last checkpoint that is durable.
  virtual LogPosition checkpoint() const = 0;
};

}  // namespace fieldgate
