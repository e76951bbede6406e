// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/frame_buffer.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace fieldgate::sim {
namespace {

// An empty buffer above this gives its memory back.
constexpr std::size_t k_keep_bytes = 1'024;

}  // namespace

void FrameBuffer::append(std::string_view frame, std::int64_t made_us) {
  if (begin_ > 0 && begin_ >= arena_.size() / 2) {
    arena_.erase(0, begin_);
    cursor_ -= begin_;
    begin_ = 0;
  }
  const auto size = static_cast<std::uint32_t>(frame.size());
  char head[k_head_bytes];
  std::memcpy(head, &size, sizeof size);
  std::memcpy(head + sizeof size, &made_us, sizeof made_us);
  arena_.append(head, sizeof head).append(frame);
  ++last_;
}

void FrameBuffer::restart() { *this = FrameBuffer(); }

FrameBuffer::Frame FrameBuffer::read(std::size_t at, std::uint64_t seq) const noexcept {
  assert(at + k_head_bytes <= arena_.size());
  Frame frame;
  std::uint32_t size = 0;
  std::memcpy(&size, arena_.data() + at, sizeof size);
  std::memcpy(&frame.made_us, arena_.data() + at + sizeof size, sizeof frame.made_us);
  frame.seq = seq;
  frame.bytes = std::string_view(arena_).substr(at + k_head_bytes, size);
  return frame;
}

void FrameBuffer::pop_front() {
  assert(frames() > 0);
  begin_ += k_head_bytes + front().bytes.size();
  ++first_;
  if (cursor_seq_ < first_) {
    cursor_seq_ = first_;
    cursor_ = begin_;
  }
  if (frames() > 0) return;
  arena_.clear();
  if (arena_.capacity() > k_keep_bytes) arena_ = std::string();
  begin_ = cursor_ = 0;
}

void FrameBuffer::mark_sent() noexcept {
  cursor_ += k_head_bytes + unsent().bytes.size();
  ++cursor_seq_;
}

void FrameBuffer::rewind_to_after(std::uint64_t seq) noexcept {
  cursor_ = begin_;
  cursor_seq_ = first_;
  while (has_unsent() && cursor_seq_ <= seq) mark_sent();
}

}  // namespace fieldgate::sim
