// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/batcher.h"
#include "adapters/mqtt/message.h"
#include "adapters/mqtt/routes.h"
#include "adapters/mqtt/topics.h"
#include "adapters/northbound/backoff.h"
#include "adapters/northbound/block_ledger.h"
#include "adapters/northbound/json_writer.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::mqtt {

using northbound::Backoff;
using northbound::BlockLedger;
using northbound::JsonWriter;

// Turns the log's records into messages, and the broker's answers into completed
// stretches of the log.
//
// Order: messages leave in the order of their records, per topic of a device or
// partition. What was not acknowledged when a connection ended leaves again,
// before anything newer. After a refusal that pauses the lane, what was refused
// is tried again before anything newer, by itself; but what was on its way behind
// it may have been taken already, so that a consumer that cares sorts by seq.
//
// Thread: one.
// Bounds: reads on only while fewer than `window` messages and outbox_bytes_max
// bytes wait, and the blocks being worked on are within ledger_bytes_max.
class Forwarder {
 public:
  struct Parts {
    Routes routes;
    BatchLimits batch;
    Backoff pause;
    const Topics& topics;
    const Clock& clock;
    Log& log;
    MqttLaneProbe& probe;
    DeadLetterStore& dead_letters;
    std::string lane;  // name, for the log and the dead letters
  };
  static constexpr std::size_t k_outbox_bytes_max = 4 << 20;
  static constexpr std::size_t k_ledger_blocks_max = 8'192;
  static constexpr std::size_t k_ledger_bytes_max = 16 << 20;

  explicit Forwarder(Parts parts);

  // Where to read; outlives the reading. Called once, first.
  void attach(LaneFeed& feed);
  // A connection is up: it takes `window` messages at once and batches of
  // `batch_bytes_max`.
  void connected(std::size_t window, std::size_t batch_bytes_max);
  // It is down: `unacknowledged`, oldest first, is to be sent again.
  void disconnected(std::vector<Message> unacknowledged);
  // Held, it reads nothing and gives out nothing; what is on its way it concludes.
  void hold(bool held) noexcept { held_ = held; }
  bool held() const noexcept { return held_; }
  // From now on batches do not linger.
  void hurry() noexcept { hurry_ = true; }

  // The next message to publish; nullopt: none for now. The caller reports what
  // became of it by exactly one of the next three, or by disconnected().
  std::optional<Message> take(Monotonic now);
  void acknowledged(Message message);
  // `reason` >= 0x80. Errors: what the status should say; empty if only the
  // message was at fault.
  std::string refused(Message message, std::uint8_t reason, Monotonic now);

  // When take() should be called again though nothing else happened.
  std::optional<Monotonic> wake_at() const;
  // Nothing that was read is unfinished, as of the last report(). Of the log it says
  // nothing: that may hold more, which is being fetched.
  bool idle() const noexcept { return ledger_.size() == 0; }
  bool paused() const noexcept { return mode_ != Mode::running; }
  // How far the log has been read: the next record.
  LogPosition next() const noexcept { return next_; }

  // Tells the feed what is done with since the last call.
  void report();

 private:
  enum class Mode : std::uint8_t { running, paused, probing };

  bool ledger_full() const noexcept {
    return ledger_.size() >= k_ledger_blocks_max || ledger_.bytes() >= k_ledger_bytes_max;
  }
  void fill(Monotonic now);
  void route(const RecordView& record, RecordRef ref, Monotonic now);
  void route_alone(const RecordView& record, RecordRef ref, bool json);
  void enqueue(Message message);
  void put_back(Message message);
  Message pop();
  void split(Message message, std::uint8_t reason);
  void bury(RecordRef ref, const std::string& topic, std::uint8_t reason, std::string detail);

  Parts parts_;
  Batcher batcher_;
  BlockLedger ledger_;
  JsonWriter json_;
  LaneFeed* feed_ = nullptr;

  // What is being read: `block_` from `index_` on, then the log from `next_`.
  RecordBlockPtr block_;
  std::uint64_t block_number_ = 0;
  std::uint32_t index_ = 0;
  LogPosition next_;

  std::deque<Message> outbox_;  // by Message::order
  std::size_t outbox_bytes_ = 0;
  std::size_t window_ = 1;
  std::size_t in_flight_ = 0;
  std::uint64_t orders_ = 0;
  std::int64_t unix_ms_ = 0;  // when fill() began
  Mode mode_ = Mode::running;
  Monotonic resume_at_;
  bool held_ = false;
  bool hurry_ = false;
};

}  // namespace fieldgate::mqtt
