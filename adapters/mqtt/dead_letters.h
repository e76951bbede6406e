// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/core/record.h"

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace fieldgate::mqtt {

// A record that the broker will never take.
struct DeadLetter {
  RecordKind kind = RecordKind::telemetry;
  std::string device;
  StreamId stream;
  Seq seq;
  std::int64_t received_unix_ms = 0;
  std::int64_t refused_unix_ms = 0;
  std::string topic;        // where it was to go; empty: it could not be given one
  std::uint8_t reason = 0;  // MQTT v5 reason code
};

// The last dead letters, and how many there ever were. What they carried is gone.
// Thread: any. Bounds: k_recent_max; the oldest goes first.
class DeadLetters {
 public:
  static constexpr std::size_t k_recent_max = 256;

  void add(DeadLetter letter);
  std::uint64_t total() const;
  std::vector<DeadLetter> recent() const;  // oldest first

 private:
  mutable Mutex mutex_;
  std::uint64_t total_ GUARDED_BY(mutex_) = 0;
  std::deque<DeadLetter> recent_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::mqtt
