// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/record.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace fieldgate {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(RecordBlock, GivesBackWhatWasPutIn) {
  std::mt19937 random(3);
  struct Kept {
    std::string device, name, payload;
    std::uint64_t seq;
  };
  std::vector<Kept> kept;
  RecordBlock block(3);
  for (std::uint64_t i = 0; i < 300; ++i) {
    Kept one{std::string(1 + random() % 40, 'd'), std::string(random() % 10, 'n'), std::string(random() % 500, 'p'), i};
    RecordView view;
    view.kind = static_cast<RecordKind>(i % k_record_kinds);
    view.device = one.device;
    view.name = one.name;
    view.stream = {i * 7};
    view.seq = {i};
    view.epoch = {i + 1};
    view.received_unix_ms = -static_cast<std::int64_t>(i);
    view.payload = bytes_of(one.payload);
    view.session = {static_cast<std::uint32_t>(i), 9};
    block.append(view);
    kept.push_back(one);
  }
  block.seal();
  ASSERT_EQ(block.size(), kept.size());
  EXPECT_EQ(block.shard(), 3U);
  for (std::uint64_t i = 0; i < kept.size(); ++i) {
    const RecordView view = block[i];
    EXPECT_EQ(view.kind, static_cast<RecordKind>(i % k_record_kinds));
    EXPECT_EQ(view.device, kept[i].device);
    EXPECT_EQ(view.name, kept[i].name);
    EXPECT_EQ(view.stream.value, i * 7);
    EXPECT_EQ(view.seq.value, i);
    EXPECT_EQ(view.epoch.value, i + 1);
    EXPECT_EQ(view.received_unix_ms, -static_cast<std::int64_t>(i));
    EXPECT_EQ(text_of(view.payload), kept[i].payload);
    EXPECT_EQ(view.session, (SessionRef{static_cast<std::uint32_t>(i), 9}));
  }
}

TEST(RecordBlock, HoldsContiguousPositions) {
  RecordBlock block(0);
  for (int i = 0; i < 5; ++i) block.append({});
  block.set_first_position({100});
  EXPECT_EQ(block.first_position().value, 100U);
  EXPECT_EQ(block.last_position().value, 104U);
}

TEST(RecordBlock, KeepsLittleMoreThanItsRecordsOnceSealed) {
  RecordBlock block(0);
  const std::string payload(120, 'x');
  for (int i = 0; i < 70; ++i) {
    RecordView view;
    view.device = "device-1";
    view.payload = bytes_of(payload);
    block.append(view);
  }
  const std::size_t before = block.bytes();
  block.seal();
  EXPECT_LE(block.bytes(), before);
  EXPECT_GE(block.bytes(), 70 * (payload.size() + 8));
  EXPECT_LE(block.bytes(), 70 * (payload.size() + 8 + 80) * 5 / 4);
}

TEST(RecordKinds, HaveNames) {
  for (std::size_t i = 0; i < k_record_kinds; ++i) EXPECT_NE(to_string(static_cast<RecordKind>(i)), "unknown");
}

}  // namespace
}  // namespace fieldgate
