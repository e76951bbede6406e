// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ack_stage.h"
#include "gateway/core/ids.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>

namespace fieldgate {

// How far one stream of a device has come.
struct StreamMarks {
  StreamId id;
  Seq received;   // highest that arrived, rejected ones included
  Seq logged;     // highest that went into the uplink log, or is about to
  Seq spooled;    // highest that reached SPOOLED
  Seq forwarded;  // highest that reached FORWARDED
  Seq gap_base;   // nothing at or below counts as a gap
  std::uint64_t gaps = 0;
  std::uint64_t duplicates = 0;

  // Every logged record through `seq` has reached `stage`. The log is ordered, so
  // what comes late may be lower than what is known, and changes nothing then.
  void raise(AckStage stage, Seq seq) noexcept {
    if (stage == AckStage::spooled) spooled = std::max(spooled, seq);
    if (stage == AckStage::forwarded) forwarded = std::max(forwarded, seq);
  }
  // The highest that has reached `stage`.
  Seq through(AckStage stage) const noexcept {
    switch (stage) {
      case AckStage::spooled: return spooled;
      case AckStage::forwarded: return forwarded;
      case AckStage::accepted:
      case AckStage::unspecified: break;
    }
    return received;
  }
};

// What may be acknowledged when everything through `staged` has reached the
// stage: with nothing left in the log, what was rejected after it counts too.
inline Seq ack_through(const StreamMarks& marks, Seq staged) noexcept {
  return staged >= marks.logged ? marks.received : staged;
}

// The two streams that are kept of a device: the current one, and the one before
// it, so that a device that goes back to its flash buffer finds its place. Most devices
// only ever have the one.
// Thread: one at a time; moves with its device.
class StreamTable {
 public:
  StreamTable() = default;
  StreamTable(StreamTable&&) noexcept = default;
  StreamTable& operator=(StreamTable&&) noexcept = default;
  StreamTable(const StreamTable& table)
      : current_(table.current_), before_(table.before_ ? std::make_unique<StreamMarks>(*table.before_) : nullptr) {}
  StreamTable& operator=(const StreamTable& table) { return *this = StreamTable(table); }
  ~StreamTable() = default;

  // The marks of `id`, which becomes the current stream; the older of two others
  // is forgotten. `oldest` and `last` are Hello's. nullptr: `last` is below what
  // was received, so the counter of this stream was started anew. Else good until the
  // next open().
  StreamMarks* open(StreamId id, Seq oldest, Seq last) {
    if (current_.id != id) {
      if (!before_ && current_.id.value != 0) before_ = std::make_unique<StreamMarks>();
      if (before_) std::swap(current_, *before_);
      if (current_.id != id) {
        current_ = StreamMarks{};
        current_.id = id;
        current_.gap_base = {oldest.value > 0 ? oldest.value - 1 : last.value};
      }
    }
    return last < current_.received ? nullptr : &current_;
  }

  StreamMarks* find(StreamId id) noexcept {
    if (id.value == 0) return nullptr;
    if (current_.id == id) return &current_;
    return before_ && before_->id == id ? before_.get() : nullptr;
  }

  // The current one first; id 0: there is none.
  std::array<StreamMarks, 2> all() const noexcept { return {current_, before_ ? *before_ : StreamMarks{}}; }

 private:
  StreamMarks current_;
  std::unique_ptr<StreamMarks> before_;
};

}  // namespace fieldgate
