// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::sim {

// A device's send buffer: the frames that are not acknowledged yet, with
// consecutive sequence numbers, oldest first, and a cursor at the next one to
// send on this connection. One allocation, given back when the buffer empties
// after having been large.
class FrameBuffer {
 public:
  struct Frame {
    std::uint64_t seq = 0;
    std::int64_t made_us = 0;  // mono clock
    std::string_view bytes;    // until the next change of the buffer
  };

  // The frame gets sequence number last() + 1.
  void append(std::string_view frame, std::int64_t made_us);
  // Forgets all; the next frame gets sequence number 1.
  void restart();

  // Highest sequence number ever given out; 0: none.
  std::uint64_t last() const noexcept { return last_; }
  // Lowest one held, 0 if none is.
  std::uint64_t oldest() const noexcept { return frames() == 0 ? 0 : first_; }
  std::uint64_t frames() const noexcept { return last_ + 1 - first_; }
  std::uint64_t bytes() const noexcept { return arena_.size() - begin_ - frames() * k_head_bytes; }

  // The oldest frame. Precondition: frames() > 0.
  Frame front() const noexcept { return read(begin_, first_); }
  // Drops the oldest frame. Precondition: frames() > 0.
  void pop_front();

  // The next frame to send. Precondition: has_unsent().
  Frame unsent() const noexcept { return read(cursor_, cursor_seq_); }
  bool has_unsent() const noexcept { return cursor_seq_ <= last_; }
  void mark_sent() noexcept;
  // The next frame to send is the first one after `seq` that is held.
  void rewind_to_after(std::uint64_t seq) noexcept;

  // Held frames before the cursor: with the gateway, and not acknowledged.
  std::uint64_t outstanding_frames() const noexcept { return cursor_seq_ - first_; }
  std::uint64_t outstanding_bytes() const noexcept { return cursor_ - begin_ - outstanding_frames() * k_head_bytes; }

 private:
  // Before each frame: its length and when it was made.
  static constexpr std::size_t k_head_bytes = 12;
  Frame read(std::size_t at, std::uint64_t seq) const noexcept;

  std::string arena_;
  std::size_t begin_ = 0;   // where the oldest frame starts
  std::size_t cursor_ = 0;  // where the next one to send starts
  std::uint64_t first_ = 1;
  std::uint64_t cursor_seq_ = 1;
  std::uint64_t last_ = 0;
};

}  // namespace fieldgate::sim
