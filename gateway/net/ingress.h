// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"
#include "gateway/ports/uplink.h"

#include <cstdint>
#include <deque>
#include <memory>

namespace fieldgate::net {

// A shard's records on their way into the uplink log: gathered while the shard
// works through what is ready, submitted together at the end of the turn.
// Shard:  every member.
// Bounds: a data block is due at k_records_max or k_bytes_max. Presence that the
//         log cannot take is kept for the next attempt, and never dropped, or
//         consumers would be left with a lie: while there is too much of it, the
//         shard lets no device connect.
class Ingress {
 public:
  static constexpr std::size_t k_records_max = 512;
  static constexpr std::size_t k_bytes_max = 262'144;

  Ingress(std::uint32_t shard, Uplink& uplink) : shard_(shard), uplink_(uplink), data_(shard) {}

  // True if the block is due: flush before adding more.
  bool add(const RecordView& record);
  void add_presence(const RecordView& record);

  struct Flushed {
    RecordBlockPtr taken;                  // in the log: ACCEPTED
    std::shared_ptr<RecordBlock> refused;  // not in the log: as if never received
    std::size_t presence = 0;              // records of it that are in the log now
  };
  // Data first, then presence. Whatever the log refuses a block for, full or failed,
  // is all the same here.
  Flushed flush();

  // Records of presence that still have to get into the log.
  std::size_t presence() const noexcept { return presence_records_; }
  bool empty() const noexcept { return data_.empty() && presence_.empty(); }

 private:
  std::uint32_t shard_;
  Uplink& uplink_;
  RecordBlock data_;  // being gathered; its memory serves one turn after the other
  std::deque<std::shared_ptr<RecordBlock>> presence_;
  std::size_t presence_records_ = 0;
};

}  // namespace fieldgate::net
