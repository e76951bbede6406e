// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/northbound/block_ledger.h"
#include "adapters/webhook/answer.h"
#include "adapters/webhook/batch.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::webhook {

// Turns the log's records into batches, and what became of these into completed
// stretches of the log.
//
// Order: a device always has the same line (a hash of its id), a line has one
// batch at a time, and keeps it until it is concluded; so the records of a device
// leave in their order.
// Batches: one may leave once its first record has waited for `linger`, or as soon
// as there is enough for a full one. It is written only then, so that behind a slow
// target batches become larger, not more.
// Refusals: a batch that is refused is split in halves, which are tried one after
// the other, until the record that is refused alone is a dead letter. That is at
// most 2n - 1 requests for n records (all of them refused), about 2 log2(n) + 1 for
// a single offender.
// Thread: one.
// Bounds: reads on while a line lacks records for its next batch and the blocks
// being worked on are within k_ledger_*_max (or two batches, if that is more). So a line that stands still stops the
// others only once that much was read past it.
class Forwarder {
 public:
  struct Parts {
    WebhookPayload payload = WebhookPayload::json;
    std::string node;  // name
    std::size_t lines = 1;
    std::size_t records_max = 1;
    std::size_t bytes_max = 1;
    std::chrono::milliseconds linger{0};
    const Clock& clock;
    Log& log;
    WebhookLaneProbe& probe;
    DeadLetterStore& dead_letters;
    std::string lane;    // name
    std::string prefix;  // of batch ids: a number follows
    std::string target;  // as dead letters name it
  };
  static constexpr std::size_t k_ledger_blocks_max = 8'192;
  static constexpr std::size_t k_ledger_bytes_max = 16 << 20;

  explicit Forwarder(Parts parts);

  // Where to read; outlives the reading. Called once, first.
  void attach(LaneFeed& feed);
  // Held, it gives out nothing.
  void hold(bool held) noexcept { held_ = held; }
  // From now on batches do not linger.
  void hurry() noexcept { hurry_ = true; }

  // Reads on, as far as the bounds allow. True if there may be something new to take.
  bool fill();
  // The batch that `line` is to send now, again if it was sent before; nullptr:
  // none. It stays as it is until accepted() or refused().
  Batch* take(std::size_t line);
  void accepted(std::size_t line);
  void refused(std::size_t line, const Answer& answer);

  // When take() will have something for `line` though nothing else happens.
  std::optional<Monotonic> due(std::size_t line) const;

  // Tells the feed what is done with since the last call.
  void report();

 private:
  using RecordRef = northbound::RecordRef;
  struct Waiting {
    RecordRef ref;
    std::uint32_t bytes;  // as protobuf: enough to tell when a batch is full
    Monotonic due;
  };
  struct Line {
    std::optional<Batch> batch;
    std::deque<std::vector<RecordRef>> pieces;  // of batches that were refused, in order
    std::deque<Waiting> waiting;
    std::size_t waiting_bytes = 0;
  };

  bool hungry(const Line& line) const;
  bool full(const Line& line) const;
  void sort(RecordRef ref, Monotonic now);
  std::optional<Batch> gather(Line& line);
  std::optional<Batch> write(const std::vector<RecordRef>& refs);
  Batch finish(std::vector<RecordRef> refs);
  void bury(RecordRef ref, std::string reason, std::string detail);

  Parts parts_;
  BatchWriter writer_;
  northbound::BlockLedger ledger_;
  LaneFeed* feed_ = nullptr;
  std::vector<Line> lines_;

  // What is being read: `block_` from `index_` on, then the log from `next_`.
  RecordBlockPtr block_;
  std::uint64_t block_number_ = 0;
  std::uint32_t index_ = 0;
  LogPosition next_;

  std::uint64_t batches_ = 0;
  bool held_ = false;
  bool hurry_ = false;
};

}  // namespace fieldgate::webhook
