// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/ids.h"
#include "gateway/core/record.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate {

// A record that a lane's far side will never take, whole, so that it can be sent
// again once the cause is mended.
struct DeadLetter {
  std::uint64_t id = 0;  // given by the store; rises, never 0
  std::string lane;
  RecordKind kind = RecordKind::telemetry;
  std::string device;
  std::string name;
  StreamId stream;
  Seq seq;
  Epoch epoch;
  std::int64_t received_unix_ms = 0;
  std::int64_t refused_unix_ms = 0;
  std::string target;  // topic or URL it was meant for; empty: it could not be given one
  std::string reason;  // constant name: "payload_format_invalid", "http_422" ...
  std::string detail;  // what the far side said, if anything; for people
  std::string payload;

  // Of `record`, copied.
  static DeadLetter of(const RecordView& record);
  // Borrows from this.
  RecordView record() const noexcept;
};

struct DeadLetterQuery {
  std::string lane;         // empty: any
  std::string device;       // empty: any
  std::uint64_t after = 0;  // ids above this
  std::size_t limit = 100;
};

struct DeadLetterPage {
  std::vector<DeadLetter> letters;  // by rising id; payloads included
  std::uint64_t next_after = 0;     // 0: that was the last page
};

struct DeadLetterUsage {
  std::string lane;
  std::uint64_t letters = 0;  // kept now
  std::uint64_t bytes = 0;
  std::uint64_t evicted = 0;  // given up for want of room since the start: lost
};

// Keeps dead letters until someone replays or deletes them.
// Thread: any. Bounds: a budget in bytes over all lanes; beyond it the oldest goes,
// and is counted.
class DeadLetterStore {
 public:
  virtual ~DeadLetterStore() = default;
  // Never waits. With a durable spool it is durable before a lane that was
  // completed past its record afterwards is saved so. Gives the id.
  virtual std::uint64_t add(DeadLetter letter) = 0;
  // These may take a short look at the disk: not on a shard or a lane.
  virtual DeadLetterPage list(const DeadLetterQuery& query) const = 0;
  virtual std::optional<DeadLetter> find(std::uint64_t id) const = 0;
  // False: there is none (any more).
  virtual bool remove(std::uint64_t id) = 0;
  // As remove(), for one whose record is in the log again, at `as`: a store that is
  // durable keeps it until that is durable too. A crash finds one of the two.
  virtual bool replayed(std::uint64_t id, LogPosition as) {
    static_cast<void>(as);
    return remove(id);
  }
  virtual std::vector<DeadLetterUsage> usage() const = 0;  // lanes that have or had any
};

}  // namespace fieldgate
