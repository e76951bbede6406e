// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/message.h"
#include "adapters/mqtt/topics.h"
#include "gateway/core/record.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fieldgate::mqtt {

struct BatchLimits {
  std::uint32_t partitions = 16;
  std::size_t bytes_max = 32'768;  // of the payload
  std::uint32_t records_max = 500;
  std::chrono::milliseconds linger{5};
  std::string node;  // RecordBatch.node
};

// Gathers records into one RecordBatch message per partition. A device keeps its
// partition, so its records keep their order.
//
// A batch is closed when the next record would not fit. All that are open may leave
// together once the first record in any of them has waited for `linger`: so whoever
// takes them wakes once for all of them, and each record waits that long at most. They
// do not leave before: with few records a second a batch of one would save nothing, with
// many it would give away most of what batching saves. And a batch that may leave goes
// on growing until it is taken, so that back-pressure makes the batches larger, not
// more.
//
// Thread: one. Bounds: one open batch per partition, of bytes_max and records_max
// (or of one record that is larger than bytes_max).
class Batcher {
 public:
  Batcher(BatchLimits limits, const Topics& topics);

  // The broker takes only so much.
  void set_bytes_max(std::size_t bytes_max) noexcept { limits_.bytes_max = bytes_max; }

  // Adds a record that waits since `since`; gives back the batch that had to be closed before it.
  std::optional<Message> add(const RecordView& record, RecordRef ref, Monotonic since);
  // The open batch that was begun first of those that may leave by `now`.
  std::optional<Message> take_due(Monotonic now);
  // The open batch that was begun first, however short ago.
  std::optional<Message> take_oldest();

  // When take_due() will have something; nullopt: no batch is open.
  std::optional<Monotonic> due() const;
  bool empty() const noexcept { return waiting_.empty(); }

  // Writes the batch anew from its records: the half of one that was refused.
  Message rebuild(const std::string& topic, std::span<const RecordRef> refs,
                  const std::function<RecordView(RecordRef)>& record_of) const;

 private:
  struct Open {
    std::string payload;
    std::vector<RecordRef> records;
    Monotonic since;  // of its first record
    // What the last one came to: the next takes that much at once, and need not grow to it.
    std::size_t last_bytes = 0;
    std::size_t last_records = 0;
  };

  Message close(std::uint32_t partition);
  Message finish(std::string topic, std::string payload, std::vector<RecordRef> records) const;

  BatchLimits limits_;
  const Topics& topics_;
  std::vector<Open> open_;              // by partition; empty: none open
  std::vector<std::uint32_t> waiting_;  // partitions with an open batch, in the order of beginning
  std::size_t leaving_ = 0;             // of these the first so many may leave
};

}  // namespace fieldgate::mqtt
