// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/frame_buffer.h"

#include "tests/sim/basics.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>

namespace fieldgate::sim {
namespace {

TEST(FrameBuffer, NumbersFramesFromOneAndKeepsThemUntilPopped) {
  FrameBuffer buffer;
  EXPECT_EQ(buffer.oldest(), 0u);
  EXPECT_EQ(buffer.last(), 0u);
  buffer.append("one", 10);
  buffer.append("two!", 20);
  EXPECT_EQ(buffer.frames(), 2u);
  EXPECT_EQ(buffer.bytes(), 7u);
  EXPECT_EQ(buffer.front().bytes, "one");
  EXPECT_EQ(buffer.front().made_us, 10);
  buffer.pop_front();
  EXPECT_EQ(buffer.oldest(), 2u);
  EXPECT_EQ(buffer.front().bytes, "two!");
  buffer.pop_front();
  EXPECT_EQ(buffer.oldest(), 0u);
  EXPECT_EQ(buffer.last(), 2u);
}

TEST(FrameBuffer, AgreesWithANaiveModelOnRandomUse) {
  struct Frame {
    std::uint64_t seq;
    std::string bytes;
  };
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Rng rng(seed);
    FrameBuffer buffer;
    std::deque<Frame> model;
    std::uint64_t last = 0;
    std::uint64_t cursor = 1;
    for (int step = 0; step < 400; ++step) {
      switch (rng.up_to(4)) {
        case 0:
        case 1: {
          const std::string bytes(static_cast<std::size_t>(rng.up_to(40)), static_cast<char>('a' + rng.up_to(25)));
          buffer.append(bytes, step);
          model.push_back({++last, bytes});
          break;
        }
        case 2:
          if (model.empty()) break;
          cursor = std::max(cursor, model.front().seq + 1);
          model.pop_front();
          buffer.pop_front();
          break;
        case 3:
          if (cursor > last) break;
          buffer.mark_sent();
          ++cursor;
          break;
        default: {
          const std::uint64_t first = model.empty() ? last + 1 : model.front().seq;
          const auto to = static_cast<std::uint64_t>(rng.up_to(static_cast<std::int64_t>(last) + 2));
          buffer.rewind_to_after(to);
          cursor = std::clamp(to + 1, first, last + 1);
          break;
        }
      }
      ASSERT_EQ(buffer.frames(), model.size()) << "seed " << seed << " step " << step;
      ASSERT_EQ(buffer.last(), last);
      ASSERT_EQ(buffer.has_unsent(), cursor <= last);
      std::uint64_t outstanding = 0;
      std::uint64_t all = 0;
      for (const Frame& frame : model) {
        all += frame.bytes.size();
        if (frame.seq < cursor) outstanding += frame.bytes.size();
        if (frame.seq == cursor) {
          ASSERT_EQ(buffer.unsent().seq, frame.seq);
          ASSERT_EQ(buffer.unsent().bytes, frame.bytes);
        }
      }
      ASSERT_EQ(buffer.outstanding_bytes(), outstanding);
      ASSERT_EQ(buffer.bytes(), all);
      if (!model.empty()) {
        ASSERT_EQ(buffer.front().bytes, model.front().bytes);
        ASSERT_EQ(buffer.outstanding_frames(), cursor - model.front().seq);
      }
    }
  }
}

}  // namespace
}  // namespace fieldgate::sim
