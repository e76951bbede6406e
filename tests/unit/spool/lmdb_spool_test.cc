// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/lmdb_spool.h"

#include "tests/unit/spool/lmdb_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::spool {
namespace {

using namespace std::chrono_literals;

using LmdbSpoolTest = LmdbFixture;

DeviceMarks marks_of(int number) {
  return {.device = DeviceId::parse("device-" + std::to_string(number)).value(),
          .streams = {StreamMark{{1}, {static_cast<std::uint64_t>(number)}, {7}}, StreamMark{{2}, {3}, {4}}},
          .epoch = {99},
          .online = number % 2 == 0,
          .since_unix_ms = 1'000 + number,
          .last_data_unix_ms = 2'000 + number,
          .presence_lanes = static_cast<LaneSet>(number)};
}

std::vector<DeviceMarks> sorted(std::vector<DeviceMarks> devices) {
  std::ranges::sort(devices, {}, [](const DeviceMarks& marks) { return marks.device.str(); });
  return devices;
}

TEST_F(LmdbSpoolTest, KeepsRecordsAndPositionsOverARestart) {
  LmdbSpool& spool = start();
  ASSERT_TRUE(spool.append(make_block(3, 10)));
  ASSERT_TRUE(spool.append(make_block(2, 20)));
  LmdbSpool& again = restart();
  EXPECT_EQ(again.usage().records, 5U);
  EXPECT_EQ(again.usage().first, LogPosition{1});
  EXPECT_EQ(again.durable_through(), LogPosition{5});
  EXPECT_GT(again.usage().bytes, 0U);
  EXPECT_EQ((*read(1))[2].seq, Seq{12});
  EXPECT_EQ((*read(5))[1].seq, Seq{21});
  EXPECT_EQ(again.append(make_block(1)).value(), LogPosition{6});
}

TEST_F(LmdbSpoolTest, LoadsFromTheDiskBeforeItIsOpen) {
  ASSERT_TRUE(start().append(make_block(3, 10)));
  ASSERT_TRUE(spool_->append(make_block(2, 20)));
  shut();
  const auto spool = try_make().value();
  const RecordBlockPtr first = spool->load({1}).value();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ((*first)[0].seq, Seq{10});
  const RecordBlockPtr second = spool->load({4}).value();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ((*second)[0].seq, Seq{20});
  EXPECT_EQ(spool->load({6}).value(), nullptr);
}

TEST_F(LmdbSpoolTest, NeverGivesAPositionTwiceThoughEverythingWasGivenUp) {
  ASSERT_TRUE(start().append(make_block(8)));
  ASSERT_TRUE(durable(8));
  spool_->trim({8});
  ASSERT_TRUE(eventually([](const SpoolUsage& usage) { return usage.records == 0; }));
  for (int i = 0; i < 2; ++i) {
    restart();
    EXPECT_EQ(spool_->usage().next, LogPosition{9});
    EXPECT_EQ(spool_->usage().first, LogPosition{9});
    EXPECT_EQ(spool_->durable_through(), LogPosition{8});
  }
  EXPECT_EQ(spool_->append(make_block(1)).value(), LogPosition{9});
}

TEST_F(LmdbSpoolTest, ForgetsTheSessionsOfAnEarlierProcess) {
  const auto block = std::make_shared<RecordBlock>(3);
  RecordView view;
  view.device = "device";
  view.session = {4, 5};
  view.lanes = 0b110;
  block->append(view);
  ASSERT_TRUE(start().append(block));
  restart();
  const RecordBlockPtr found = read(1);
  EXPECT_EQ(found->shard(), 0U);
  EXPECT_EQ((*found)[0].session, SessionRef{});
  EXPECT_EQ((*found)[0].lanes, 0b110U);
}

TEST_F(LmdbSpoolTest, MakesManyBlocksDurableInOneCommit) {
  settings_.commit_every = 1h;
  settings_.commit_records = 100;
  start();
  for (std::uint64_t seq = 1; seq <= 100; ++seq) ASSERT_TRUE(spool_->append(make_block(1, seq)));
  ASSERT_TRUE(durable(100));
  EXPECT_EQ(spool_->probe().commits.get(), 1U);
  EXPECT_EQ(spool_->probe().committed_blocks.get(), 100U);
  EXPECT_EQ(spool_->probe().committed_records.get(), 100U);
}

TEST_F(LmdbSpoolTest, MakesAFewRecordsDurableSoon) {
  settings_.commit_records = 1'000'000;
  start();
  ASSERT_TRUE(spool_->append(make_block(1)));
  EXPECT_TRUE(durable(1));
}

TEST_F(LmdbSpoolTest, WritesWhatWaitsWhenItIsClosed) {
  settings_.commit_every = 1h;
  ASSERT_TRUE(start().append(make_block(4)));
  spool_->save_lanes({{.name = "main", .slot = 1, .completed = {2}}});
  restart();
  EXPECT_EQ(spool_->usage().records, 4U);
  ASSERT_EQ(recovery_.lanes.size(), 1U);
}

TEST_F(LmdbSpoolTest, KeepsTheLanesSavedLast) {
  ASSERT_TRUE(start().append(make_block(9)));
  ASSERT_TRUE(durable(9));
  const std::vector<SavedLane> lanes = {{.name = "main", .slot = 0, .completed = {7}},
                                        {.name = "hook", .slot = 31, .completed = {3}, .paused = true}};
  spool_->save_lanes({{.name = "main", .slot = 0, .completed = {1}}});
  spool_->save_lanes(lanes);
  restart();
  EXPECT_EQ(recovery_.lanes, lanes);
}

TEST_F(LmdbSpoolTest, KeepsNoLaneAheadOfTheRecords) {
  ASSERT_TRUE(start().append(make_block(5)));
  spool_->save_lanes({{.name = "main", .slot = 0, .completed = {1'000}}});
  restart();
  ASSERT_EQ(recovery_.lanes.size(), 1U);
  EXPECT_EQ(recovery_.lanes[0].completed, LogPosition{5});
}

TEST_F(LmdbSpoolTest, KeepsDevicesAndSaysSoOnceAllOfThemAreDurable) {
  ASSERT_TRUE(start().append(make_block(50)));
  ASSERT_TRUE(durable(50));
  std::vector<DeviceMarks> devices;
  for (int i = 0; i < 5'000; ++i) devices.push_back(marks_of(i));
  spool_->save_devices(devices, {}, {40});
  ASSERT_TRUE(events_.wait_for([&] { return spool_->checkpoint() == LogPosition{40}; }));
  // Some change, some go.
  devices[17].epoch = {100};
  std::vector<DeviceId> gone;
  for (int i = 1'000; i < 1'500; ++i) gone.push_back(devices[static_cast<std::size_t>(i)].device);
  spool_->save_devices({devices[17]}, gone, {50});
  restart();
  EXPECT_EQ(spool_->checkpoint(), LogPosition{50});
  EXPECT_EQ(recovery_.checkpoint, LogPosition{50});
  devices.erase(devices.begin() + 1'000, devices.begin() + 1'500);
  EXPECT_EQ(sorted(recovery_.devices), sorted(devices));
}

TEST_F(LmdbSpoolTest, TakesACheckpointWithoutDevices) {
  ASSERT_TRUE(start().append(make_block(5)));
  ASSERT_TRUE(durable(5));
  spool_->save_devices({}, {}, {5});
  EXPECT_TRUE(events_.wait_for([&] { return spool_->checkpoint() == LogPosition{5}; }));
}

TEST_F(LmdbSpoolTest, ServesReadersInManyPlacesFromALittleMemory) {
  settings_.memory_bytes_max = 512 << 10;
  constexpr std::uint64_t k_blocks = 2'000;
  start();
  for (std::uint64_t i = 0; i < k_blocks; ++i) {
    const auto taken = [&] { return spool_->append(make_block(4, 1 + i * 4, 0, 500)).has_value(); };
    ASSERT_TRUE(events_.wait_for(taken));
  }
  ASSERT_TRUE(durable(k_blocks * 4));
  std::vector<std::uint64_t> at;  // each reads from another place to the end
  for (std::uint64_t i = 0; i < 32; ++i) at.push_back(1 + i * k_blocks * 4 / 32);
  const auto all_read = [&] {
    for (std::uint64_t& position : at) {
      while (const RecordBlockPtr block = spool_->read({position})) {
        EXPECT_EQ((*block)[0].seq.value, block->first_position().value);
        position = block->last_position().value + 1;
      }
    }
    return std::ranges::all_of(at, [](std::uint64_t position) { return position > k_blocks * 4; });
  };
  EXPECT_TRUE(events_.wait_for(all_read));
  EXPECT_GT(spool_->probe().fetched_blocks.get(), 0U);
}

TEST_F(LmdbSpoolTest, RefusesMoreThanTheMemoryHoldsUntilItIsDurable) {
  settings_.memory_bytes_max = 64 << 10;
  settings_.commit_every = 1h;
  settings_.commit_records = 1'000'000;
  start();
  std::uint64_t taken = 0;
  while (spool_->append(make_block(1, 1, 0, 1'000))) ++taken;
  EXPECT_GT(taken, 10U);
  EXPECT_LE(spool_->usage().unsaved_bytes, spool_->usage().unsaved_bytes_max);
  EXPECT_EQ(spool_->append(make_block(1, 1, 0, 1'000)).error().code, Errc::full);
  EXPECT_EQ(spool_->usage().state, SpoolState::ok);  // the disk is not to blame
  spool_->close();
  EXPECT_EQ(spool_->durable_through(), LogPosition{taken});
}

TEST_F(LmdbSpoolTest, ReusesTheFileForWhatComesAfterWhatWasGivenUp) {
  settings_.bytes_max = 8 << 20;
  start();
  std::uint64_t last = 0;
  for (int i = 0; i < 400; ++i) {  // ten times what fits
    const auto taken = [&] {
      const auto first = spool_->append(make_block(100, last + 1, 0, 2'000));
      if (first) last = first->value + 99;
      return first.has_value();
    };
    ASSERT_TRUE(events_.wait_for(taken));
    if (i >= 20) spool_->trim({last - 2'000});
  }
  ASSERT_TRUE(durable(last));
  EXPECT_LT(spool_->probe().file_bytes.get(), 2 * settings_.bytes_max);
}

TEST_F(LmdbSpoolTest, GivesUpABacklogOfManySmallBlocks) {
  start();
  for (std::uint64_t seq = 1; seq <= 20'000; ++seq) {
    const auto taken = [&] { return spool_->append(make_block(1, seq)).has_value(); };
    ASSERT_TRUE(events_.wait_for(taken));
  }
  ASSERT_TRUE(durable(20'000));
  spool_->trim({20'000});
  ASSERT_TRUE(eventually([](const SpoolUsage& usage) { return usage.records == 0; }));
  EXPECT_EQ(spool_->usage().bytes, 0U);
  EXPECT_EQ(spool_->probe().trimmed_records.get(), 20'000U);
}

TEST_F(LmdbSpoolTest, StopsForGoodWhereABlockIsDamaged) {
  settings_.memory_bytes_max = 64 << 10;
  start();
  ASSERT_TRUE(spool_->append(make_block(3, 1, 0, 3'000)));
  ASSERT_TRUE(durable(3));
  shut();
  {
    std::fstream file(data_file(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const std::size_t at = bytes.find(std::string(2'000, 'p'));
    ASSERT_NE(at, std::string::npos);
    file.clear();
    file.seekp(static_cast<std::streamoff>(at));
    file << 'q';
  }
  {
    const auto spool = try_make().value();
    const auto loaded = spool->load({1});
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().detail.find("position 3"), std::string::npos) << loaded.error().detail;
  }
  start();
  ASSERT_TRUE(eventually([&](const SpoolUsage& usage) {
    EXPECT_EQ(spool_->read({1}), nullptr);
    return usage.state == SpoolState::failed;
  }));
  const std::string error = spool_->usage().error;
  EXPECT_NE(error.find(data_file()), std::string::npos) << error;
  EXPECT_NE(error.find("position 3 is damaged: wrong checksum"), std::string::npos) << error;
  EXPECT_EQ(spool_->append(make_block(1)).error().code, Errc::unavailable);
  // A reader asks again whenever it is told that there is something: it must not be.
  ASSERT_TRUE(events_.wait_for([&] { return !spool_->read({1}) && spool_->probe().fetches.get() >= 5; }));
  EXPECT_EQ(events_.readable_count, 0);
}

}  // namespace
}  // namespace fieldgate::spool
