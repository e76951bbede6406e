// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

// What travels northbound. In configuration and metrics by these names.
enum class RecordKind : std::uint8_t { telemetry, event, state, opaque, presence, command_reply };
inline constexpr std::size_t k_record_kinds = 6;
std::string_view to_string(RecordKind kind) noexcept;

// Which session of which shard a record came from; lets an acknowledgement find
// its way back without a look-up by id. Slot k_no_slot: nobody waits for it.
struct SessionRef {
  static constexpr std::uint32_t k_no_slot = ~std::uint32_t{0};
  std::uint32_t slot = k_no_slot;
  std::uint32_t generation = 0;
  friend bool operator==(SessionRef, SessionRef) = default;
};

// Lanes that a record is for, by slot: bit n is slot n. A lane keeps its slot for
// as long as the log remembers its name.
using LaneSet = std::uint32_t;
inline constexpr std::uint32_t k_lanes_max = 32;
inline constexpr LaneSet k_every_lane = ~LaneSet{0};

// One record, borrowed from its block.
struct RecordView {
  RecordKind kind = RecordKind::telemetry;
  std::string_view device;
  // Event name or opaque schema id or, for presence, "online"/"offline"; else empty.
  std::string_view name;
  StreamId stream;  // 0 on presence
  Seq seq;          // 0 on presence
  Epoch epoch;      // of the connection that sent it
  std::int64_t received_unix_ms = 0;
  // The DeviceFrame as it arrived; a serialized PresenceEvent for presence.
  std::span<const std::byte> payload;
  SessionRef session;
  // As the lanes' filters on device and labels decided when it came.
  LaneSet lanes = k_every_lane;
};

// Records in the order they arrived on one shard; the unit in which the uplink
// log takes, keeps and hands out.
// Thread: filled by one thread, immutable once it is in the log.
// Bounds: positions are contiguous from first_position().
class RecordBlock {
 public:
  explicit RecordBlock(std::uint32_t shard) : shard_(shard) {}

  // Copies what `record` borrows.
  // Precondition: device and name at most 65,535 bytes each.
  void append(const RecordView& record);

  std::uint32_t shard() const noexcept { return shard_; }
  std::size_t size() const noexcept { return entries_.size(); }
  bool empty() const noexcept { return entries_.empty(); }
  // Memory held, in bytes: what the log's budget counts.
  std::size_t bytes() const noexcept { return arena_.capacity() + entries_.capacity() * sizeof(Entry) + sizeof(*this); }
  // The part of it that the records fill.
  std::size_t filled_bytes() const noexcept { return arena_.size() + entries_.size() * sizeof(Entry) + sizeof(*this); }
  RecordView operator[](std::size_t i) const noexcept;

  // Set once, by the log, before the block is shared.
  void set_first_position(LogPosition first) noexcept { first_ = first; }
  LogPosition first_position() const noexcept { return first_; }
  LogPosition last_position() const noexcept { return {first_.value + entries_.size() - 1}; }

  // Gives back capacity beyond what the records need.
  void seal();
  // The records in a block of their own, of just the size they need; this one is empty
  // then, and keeps its memory for the next.
  // Precondition: no positions yet.
  std::shared_ptr<RecordBlock> take();

 private:
  struct Entry {
    std::uint64_t stream;
    std::uint64_t seq;
    std::uint64_t epoch;
    std::int64_t received_unix_ms;
    SessionRef session;
    LaneSet lanes;
    std::uint32_t offset;
    std::uint32_t payload_bytes;
    std::uint16_t device_bytes;
    std::uint16_t name_bytes;
    RecordKind kind;
  };

  std::uint32_t shard_;
  LogPosition first_;
  std::vector<Entry> entries_;
  std::string arena_;
};

using RecordBlockPtr = std::shared_ptr<const RecordBlock>;

}  // namespace fieldgate
