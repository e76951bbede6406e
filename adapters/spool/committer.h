// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/environment.h"
#include "adapters/spool/lmdb_dead_letters.h"
#include "adapters/spool/notes.h"
#include "gateway/core/record.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/spool.h"

#include <cstdint>
#include <deque>
#include <vector>

namespace fieldgate::spool {

// What waits for the writer.
struct Work {
  std::vector<RecordBlockPtr> blocks;  // a run of the oldest that are not durable
  std::deque<Note> notes;              // what has become durable is taken off
  LogPosition trim_through;
};

// What the file holds.
struct Committed {
  LogPosition durable;  // last position ever committed
  LogPosition first;    // oldest kept; the next position if there is none
  LogPosition checkpoint;
  LogPosition trimmed;  // no block whose last position is <= this is left
};

// Writes the spool's file, transaction by transaction.
// Thread: one.
class Committer {
 public:
  enum class Verdict : std::uint8_t {
    done,    // all of the work, though perhaps not all trimming
    full,    // some of it found no room; the rest is done. To be tried again
    failed,  // for good: nothing may be written any more
  };

  // All outlive this. `reserve_bytes` of the file are never given to blocks: giving
  // up blocks takes a few pages first.
  Committer(Environment& environment, LmdbDeadLetters& letters, const Clock& clock, SpoolProbe& probe,
            std::uint64_t boot, std::uint64_t reserve_bytes);

  // Reads where the file stands. Before everything else.
  Result<void> load();
  // Takes off `work` what has become durable; notes may be left without a fault:
  // is_ready() says which are to be tried again at once.
  Verdict run(Work& work);
  const Committed& committed() const noexcept { return committed_; }
  const Pages& pages() const noexcept { return environment_.pages(); }
  // Why the last run() was not done, with the path.
  const std::string& error() const noexcept { return error_; }

 private:
  // One transaction's share of the work.
  struct Share {
    std::size_t blocks = 0;
    std::size_t notes = 0;
    std::size_t trims = 0;
  };
  Verdict run_ready(Work& work);
  Verdict run_tight(Work& work);
  Verdict append_tight(Work& work);
  Status transact(Work& work, const Share& share);
  Status transact_growing(Work& work, const Share& share);
  Status write(MDB_txn* txn, const Work& work, const Share& share, Committed& after);
  Status put_block(MDB_txn* txn, const RecordBlock& block) const;
  Status put_letter(MDB_txn* txn, const LetterChange& change) const;
  Status put_lanes(MDB_txn* txn, std::vector<SavedLane> lanes, const Committed& after) const;
  Status put_devices(MDB_txn* txn, const DeviceGroup& group, Committed& after) const;
  Status put_meta(MDB_txn* txn, std::string_view name, std::string_view value) const;
  Status trim(MDB_txn* txn, LogPosition through, std::size_t blocks_max, Committed& after) const;
  void conclude(Work& work, const Share& share, const Committed& after);
  Status turn();
  Status grow(std::uint64_t pages);
  std::size_t blocks_that_fit(const Work& work);
  std::size_t notes_share(const Work& work, std::uint64_t weight_max) const;
  Verdict judge(Status status);

  Environment& environment_;
  LmdbDeadLetters& letters_;
  const Clock& clock_;
  SpoolProbe& probe_;
  const std::uint64_t boot_;
  const std::uint64_t reserve_pages_;
  Committed committed_;
  Status no_room_ = MDB_MAP_FULL;  // why the file could not grow when it last could not
  std::string error_;
};

// What a block of that many encoded bytes takes of the file at most, its share of
// the tree included.
std::uint64_t disk_cost(std::uint64_t encoded_bytes, std::uint64_t page_bytes) noexcept;
// Beyond the blocks' own cost: the page that is being filled, and the tree's edge.
inline constexpr std::uint64_t k_tree_edge_pages = 4;

}  // namespace fieldgate::spool
