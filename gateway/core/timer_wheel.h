// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace fieldgate {

// What a wheel holds: base of whoever has a deadline. Removes itself when it dies.
class TimerNode {
 public:
  TimerNode() = default;
  ~TimerNode() { unlink(); }
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;

  bool filed() const noexcept { return next_ != nullptr; }

 private:
  friend class TimerWheel;
  void unlink() noexcept {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }
  void link_before(TimerNode& head) noexcept {
    prev_ = head.prev_;
    next_ = &head;
    head.prev_->next_ = this;
    head.prev_ = this;
  }

  TimerNode* prev_ = nullptr;
  TimerNode* next_ = nullptr;
  std::uint32_t tick_ = 0;
};

// Deadlines by the tick, for tens of thousands of owners that almost always push
// theirs back before it comes. Filing is a few stores; the owner stamps its
// activity and does not re-file, and when its node fires it works out whether the
// deadline has really come.
//
// A node whose tick is beyond the wheel's span fires early, at the end of the span.
// Thread: one. Owns nothing: a node belongs to its owner, who may die at any time,
// also inside advance().
class TimerWheel {
 public:
  static constexpr std::uint32_t k_span = 128;

  explicit TimerWheel(std::uint32_t now) : now_(now) {
    for (TimerNode& head : heads_) head.prev_ = head.next_ = &head;
  }
  ~TimerWheel() {
    for (TimerNode& head : heads_) {
      while (head.next_ != &head) head.next_->unlink();
      head.prev_ = head.next_ = nullptr;
    }
  }
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Fires `node` once, at `tick` or, if that is past, at the next tick. Re-files
  // a node that is filed already.
  void file(TimerNode& node, std::uint32_t tick) noexcept {
    node.unlink();
    const auto ahead = static_cast<std::int32_t>(tick - now_);
    if (ahead < 1) tick = now_ + 1;
    if (ahead >= static_cast<std::int32_t>(k_span)) tick = now_ + k_span - 1;
    node.tick_ = tick;
    node.link_before(heads_[tick % k_span]);
  }

  // Moves to `now` and calls fire(node) for each node that is due; `fire` may
  // file and destroy nodes at will.
  template <class Fire>
  void advance(std::uint32_t now, Fire&& fire) {
    while (static_cast<std::int32_t>(now - now_) > 0) {
      ++now_;
      // What is due is moved aside first: `fire` may file into this very slot.
      TimerNode due;
      TimerNode& head = heads_[now_ % k_span];
      if (head.next_ == &head) continue;
      due.next_ = head.next_;
      due.prev_ = head.prev_;
      due.next_->prev_ = &due;
      due.prev_->next_ = &due;
      head.prev_ = head.next_ = &head;
      while (due.next_ != &due) {
        TimerNode& node = *due.next_;
        node.unlink();
        fire(node);
      }
      due.prev_ = due.next_ = nullptr;
    }
  }

  std::uint32_t now() const noexcept { return now_; }

 private:
  std::array<TimerNode, k_span> heads_;
  std::uint32_t now_;
};

}  // namespace fieldgate
