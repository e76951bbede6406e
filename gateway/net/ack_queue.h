// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>

namespace fieldgate::net {

// The sessions of a shard that owe their device an Ack, in the order in which these fall
// due. They are sent as they fall due, not all at once: an Ack costs as much as half a
// frame, and what devices send meanwhile is not to wait for thousands of them.
//
// A round takes those that are due, and those that will be within its grain, so that no
// two rounds are closer than that. Nobody is late for it: who is taken a little early has
// an Ack that says a little less.
//
// Times are milliseconds on the shard's clock, which wraps around; the wait, which each
// comes with, may change. Shard: every member.
// Bounds: a session is in it once; the caller sees to that.
class AckQueue {
 public:
  static constexpr std::uint32_t k_grain_max_ms = 5;

  void add(SessionRef session, std::uint32_t now_ms, std::uint32_t wait_ms) {
    owed_.push_back({session, now_ms + wait_ms, std::min(wait_ms / 10, k_grain_max_ms)});
  }
  bool empty() const noexcept { return owed_.empty(); }

  // When the next round is to begin, from `now_ms` on; 0: at once. Precondition: !empty().
  std::uint32_t wait_ms(std::uint32_t now_ms) const noexcept {
    const auto left = static_cast<std::int32_t>(owed_.front().due_ms - now_ms);
    return left > 0 ? static_cast<std::uint32_t>(left) : 0;
  }

  // Begins a round, with the first as due, however late or early this is asked for.
  // Precondition: !empty().
  void begin(std::uint32_t now_ms) noexcept {
    const Owed& first = owed_.front();
    const std::uint32_t from = wait_ms(now_ms) > 0 ? first.due_ms : now_ms;
    through_ms_ = from + first.grain_ms;
  }
  // The next of this round; nullopt: it is over.
  std::optional<SessionRef> take() noexcept {
    if (owed_.empty() || static_cast<std::int32_t>(owed_.front().due_ms - through_ms_) > 0) return std::nullopt;
    const SessionRef session = owed_.front().session;
    owed_.pop_front();
    return session;
  }

 private:
  struct Owed {
    SessionRef session;
    std::uint32_t due_ms;
    std::uint32_t grain_ms;
  };

  std::deque<Owed> owed_;
  std::uint32_t through_ms_ = 0;  // of the round
};

}  // namespace fieldgate::net
