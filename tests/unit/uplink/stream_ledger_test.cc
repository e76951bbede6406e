// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/stream_ledger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace fieldgate::uplink {
namespace {

struct Log {
  // Appends one record, and applies it to `ledger`.
  void data(std::string_view device, std::uint64_t stream, std::uint64_t seq, std::uint64_t epoch = 1,
            std::int64_t at = 1'000) {
    RecordView record;
    record.device = device;
    record.stream = {stream};
    record.seq = {seq};
    record.epoch = {epoch};
    record.received_unix_ms = at;
    add(record);
  }
  void presence(std::string_view device, std::string_view name, std::uint64_t epoch, std::int64_t at = 1'000,
                LaneSet lanes = k_every_lane) {
    RecordView record;
    record.kind = RecordKind::presence;
    record.device = device;
    record.name = name;
    record.epoch = {epoch};
    record.received_unix_ms = at;
    record.lanes = lanes;
    add(record);
  }
  void add(const RecordView& record) {
    RecordBlock block(0);
    block.append(record);
    block.set_first_position({blocks.size() + 1});
    ledger.apply(block);
    blocks.push_back(std::move(block));
  }
  StreamLedger ledger{1'000};
  std::vector<RecordBlock> blocks;
};

std::map<std::string, DeviceMarks> by_id(const std::vector<DeviceMarks>& devices) {
  std::map<std::string, DeviceMarks> map;
  for (const DeviceMarks& marks : devices) map.emplace(marks.device.str(), marks);
  return map;
}

TEST(StreamLedger, KeepsTheHighestSeqOfTheTwoStreamsThatSentLast) {
  Log log;
  log.data("pump", 7, 1);
  log.data("pump", 7, 5);
  log.data("pump", 8, 1, 2);
  const DeviceMarks marks = log.ledger.all().at(0);
  EXPECT_EQ(marks.streams[0], (StreamMark{{8}, {1}, {3}}));
  EXPECT_EQ(marks.streams[1], (StreamMark{{7}, {5}, {2}}));
  EXPECT_EQ(marks.epoch, Epoch{2});
  log.data("pump", 7, 6, 3);
  log.data("pump", 9, 1, 4);
  const DeviceMarks later = log.ledger.all().at(0);
  EXPECT_EQ(later.streams[0], (StreamMark{{9}, {1}, {5}}));
  EXPECT_EQ(later.streams[1], (StreamMark{{7}, {6}, {4}}));
}

TEST(StreamLedger, IsNotMovedBackByARecordOfAnEarlierConnection) {
  Log log;
  log.data("pump", 7, 5, 1, 3'000);
  log.data("pump", 8, 9, 2, 5'000);
  log.data("pump", 7, 3, 1, 3'000);
  log.data("pump", 6, 3, 1, 3'000);
  const DeviceMarks marks = log.ledger.all().at(0);
  EXPECT_EQ(marks.streams[0], (StreamMark{{8}, {9}, {2}}));
  EXPECT_EQ(marks.streams[1], (StreamMark{{7}, {5}, {1}}));
  EXPECT_EQ(marks.epoch, Epoch{2});
  EXPECT_EQ(marks.last_data_unix_ms, 5'000);
}

TEST(StreamLedger, KnowsWhoIsOnlineSinceWhen) {
  Log log;
  log.data("pump", 7, 1, 4);  // data may come before the word that the device is there
  log.presence("pump", "online", 4, 2'000);
  EXPECT_TRUE(log.ledger.all().at(0).online);
  EXPECT_EQ(log.ledger.all().at(0).since_unix_ms, 2'000);
  log.presence("pump", "online", 5, 3'000);
  log.presence("pump", "offline", 4, 3'001);  // late: of the connection before
  EXPECT_TRUE(log.ledger.all().at(0).online);
  log.presence("pump", "offline", 5, 4'000);
  log.presence("pump", "online", 5, 3'000);  // a dead letter that was put back
  EXPECT_FALSE(log.ledger.all().at(0).online);
  EXPECT_EQ(log.ledger.all().at(0).since_unix_ms, 4'000);
}

TEST(StreamLedger, KnowsWhichLanesWereToldThatADeviceIsOnline) {
  Log log;
  log.presence("pump", "online", 4, 1'000, 0b0110);
  EXPECT_EQ(log.ledger.all().at(0).presence_lanes, LaneSet{0b0110});
  log.data("pump", 7, 1, 4);
  log.presence("pump", "online", 4, 1'000, 0b0010);  // a dead letter that was put back, for one lane
  EXPECT_EQ(log.ledger.all().at(0).presence_lanes, LaneSet{0b0110});
  StreamLedger after(10);
  after.restore(log.ledger.all());
  after.apply(log.blocks.back());
  EXPECT_EQ(after.all().at(0).presence_lanes, LaneSet{0b0110});
  log.presence("pump", "online", 5, 2'000, 0b1000);
  log.presence("pump", "offline", 4, 2'001, 0b0110);  // late
  EXPECT_EQ(log.ledger.all().at(0).presence_lanes, LaneSet{0b1000});
}

TEST(StreamLedger, TellsOfEachChangedDeviceOnce) {
  Log log;
  log.data("pump", 7, 1);
  log.data("pump", 7, 2);
  log.data("fan", 7, 1);
  const auto first = by_id(log.ledger.take_changes().changed);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first.at("pump").streams[0].logged, Seq{2});
  EXPECT_TRUE(log.ledger.take_changes().changed.empty());
  log.data("fan", 7, 2);
  EXPECT_EQ(log.ledger.take_changes().changed.size(), 1U);
}

TEST(StreamLedger, ForgetsThoseHeardOfLeastRecentlyAndSaysSo) {
  Log log;
  for (int i = 0; i < 1'000; ++i) log.data("device-" + std::to_string(i), 1, 1);
  log.data("device-0", 1, 2);
  EXPECT_TRUE(log.ledger.take_changes().gone.empty());
  log.data("one-more", 1, 1);
  EXPECT_LE(log.ledger.size(), 1'000U);
  const auto changes = log.ledger.take_changes();
  ASSERT_EQ(changes.gone.size(), 16U);  // a 64th and one
  for (int i = 1; i <= 16; ++i) {
    EXPECT_NE(std::ranges::find(changes.gone, "device-" + std::to_string(i), &DeviceId::str), changes.gone.end());
  }
  EXPECT_EQ(by_id(log.ledger.all()).count("device-0"), 1U);
  EXPECT_EQ(by_id(log.ledger.all()).count("one-more"), 1U);
}

// Were it forgotten, nobody would say after a crash that it is not online any more.
TEST(StreamLedger, ForgetsNoDeviceThatIsOnlineWhileOthersAreOffline) {
  Log log;
  log.presence("silent", "online", 1);
  for (int i = 0; i < 2'000; ++i) log.data("device-" + std::to_string(i), 1, 1);
  ASSERT_EQ(by_id(log.ledger.all()).count("silent"), 1U);
  EXPECT_TRUE(by_id(log.ledger.all()).at("silent").online);

  StreamLedger after(1'000);
  after.restore(log.ledger.all());
  for (const RecordBlock& block : log.blocks) {
    if (block[0].device != "silent") after.apply(block);
  }
  EXPECT_EQ(by_id(after.all()).count("silent"), 1U);
  EXPECT_LE(after.size(), 1'000U);
}

TEST(StreamLedger, DoesNotCallGoneWhoHasComeBack) {
  Log log;
  for (int i = 0; i < 1'001; ++i) log.data("device-" + std::to_string(i), 1, 1);
  log.data("device-0", 1, 2);
  const auto changes = log.ledger.take_changes();
  EXPECT_EQ(std::ranges::find(changes.gone, "device-0", &DeviceId::str), changes.gone.end());
  EXPECT_EQ(by_id(changes.changed).at("device-0").streams[0].logged, Seq{2});
}

TEST(StreamLedger, PassesOverWhatIsNoDevice) {
  Log log;
  log.data("", 1, 1);
  log.data("not a device", 1, 1);
  EXPECT_EQ(log.ledger.size(), 0U);
}

// A checkpoint, wherever it was taken, and the records after it say the same as all
// records: also if what was saved is newer than the checkpoint says.
TEST(StreamLedger, ComesToTheSameFromACheckpointAndTheRest) {
  for (unsigned run = 0; run < 200; ++run) {
    std::mt19937 random(run);
    Log log;
    std::map<std::string, DeviceMarks> saved;
    std::size_t checkpoint = 0;
    std::map<int, std::uint64_t> epochs;
    std::map<int, std::uint64_t> seqs;
    std::uint64_t epoch = 0;
    for (int i = 0; i < 300; ++i) {
      const int number = static_cast<int>(random() % 5);
      const std::string device = "device-" + std::to_string(number);
      switch (random() % 6) {
        case 0:
          epochs[number] = ++epoch;
          log.presence(device, "online", epoch, i, static_cast<LaneSet>(epoch * 7));
          break;
        case 1:
          if (epochs[number] != 0)
            log.presence(device, "offline", epochs[number], i, static_cast<LaneSet>(epochs[number] * 7));
          break;
        default: {
          const std::uint64_t stream = 1 + epochs[number] % 3;
          log.data(device, stream, ++seqs[number * 10 + static_cast<int>(stream)], epochs[number], i);
        }
      }
      if (random() % 40 != 0) continue;
      const std::size_t before = checkpoint;
      checkpoint = log.blocks.size();
      for (const DeviceMarks& marks : log.ledger.take_changes().changed) {
        saved.insert_or_assign(marks.device.str(), marks);
      }
      if (random() % 4 == 0) checkpoint = before;  // the crash came between the two
    }
    StreamLedger after(1'000);
    std::vector<DeviceMarks> rows;
    for (const auto& [id, marks] : saved) rows.push_back(marks);
    after.restore(std::move(rows));
    for (std::size_t i = checkpoint; i < log.blocks.size(); ++i) after.apply(log.blocks[i]);
    ASSERT_EQ(by_id(after.all()), by_id(log.ledger.all())) << "run " << run;
  }
}

}  // namespace
}  // namespace fieldgate::uplink
