// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/disk_format.h"

#include "tests/unit/spool/spool_support.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fieldgate::spool {
namespace {

constexpr std::uint64_t k_boot = 7;

std::vector<std::byte> encoded(std::size_t records, std::uint64_t first) {
  const auto block = make_block(records);
  block->set_first_position({first});
  std::vector<std::byte> bytes(encoded_bytes(*block));
  encode_block(*block, k_boot, bytes);
  return bytes;
}

Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(DiskFormat, KeepsItsLayout) {
  const std::vector<std::byte> bytes = encoded(1, 0x0102030405060708);
  // Header, fixed part, "device", "payload": what later releases must be able to read.
  EXPECT_EQ(bytes.size(), 32U + 53U + 6U + 7U);
  EXPECT_EQ(bytes[4], std::byte{1});   // version
  EXPECT_EQ(bytes[8], std::byte{1});   // records
  EXPECT_EQ(bytes[24], std::byte{8});  // first position, lowest byte first
  EXPECT_EQ(bytes[31], std::byte{1});
}

TEST(DiskFormat, RefusesABlockOfWhichAnyBitHasChanged) {
  std::vector<std::byte> bytes = encoded(3, 5);
  ASSERT_TRUE(decode_block(bytes, {7}, k_boot));
  for (std::byte& byte : bytes) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      byte ^= std::byte{1} << bit;
      EXPECT_FALSE(decode_block(bytes, {7}, k_boot));
      byte ^= std::byte{1} << bit;
    }
  }
}

TEST(DiskFormat, RefusesABlockOfAnyOtherLengthOrPlace) {
  std::vector<std::byte> bytes = encoded(3, 5);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_block(Bytes(bytes).first(length), {7}, k_boot));
  }
  EXPECT_FALSE(decode_block(bytes, {8}, k_boot));
  bytes.push_back({});
  EXPECT_FALSE(decode_block(bytes, {7}, k_boot));
}

TEST(DiskFormat, RefusesOtherValuesCutShortOrTooLong) {
  SavedLane lane;
  lane.name = "main";
  DeadLetter letter;
  letter.lane = "main";
  letter.payload = "payload";
  const DeviceMarks marks{.device = DeviceId::parse("device").value(), .streams = {}, .epoch = {1}};
  const std::string lanes = encode_lanes({lane, lane});
  const std::string letters = encode_letter(letter);
  const std::string devices = encode_device(marks);
  EXPECT_TRUE(decode_lanes(bytes_of(lanes)));
  EXPECT_TRUE(decode_letter(1, bytes_of(letters)));
  EXPECT_TRUE(decode_device("device", bytes_of(devices)));
  for (std::size_t i = 0; i < lanes.size(); ++i) EXPECT_FALSE(decode_lanes(bytes_of(lanes.substr(0, i))));
  for (std::size_t i = 0; i < letters.size(); ++i) EXPECT_FALSE(decode_letter(1, bytes_of(letters.substr(0, i))));
  for (std::size_t i = 0; i < devices.size(); ++i) {
    EXPECT_FALSE(decode_device("device", bytes_of(devices.substr(0, i))));
  }
  EXPECT_FALSE(decode_lanes(bytes_of(lanes + "x")));
  EXPECT_FALSE(decode_letter(1, bytes_of(letters + "x")));
  EXPECT_FALSE(decode_device("device", bytes_of(devices + "x")));
  EXPECT_FALSE(decode_device("not a name", bytes_of(devices)));
}

TEST(DiskFormat, RefusesALaneWithoutASlot) {
  SavedLane lane;
  lane.name = "main";
  lane.slot = k_lanes_max;
  EXPECT_FALSE(decode_lanes(bytes_of(encode_lanes({lane}))));
}

}  // namespace
}  // namespace fieldgate::spool
