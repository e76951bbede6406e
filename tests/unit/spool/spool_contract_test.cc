// SPDX-License-Identifier: Apache-2.0
//
// What every Spool promises, whatever it is made of.
#include "adapters/spool/lmdb_spool.h"
#include "adapters/spool/memory_spool.h"
#include "tests/support/fakes.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/spool/spool_support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace fieldgate::spool {
namespace {

struct SpoolMaker {
  std::string name;
  std::function<std::unique_ptr<Spool>(std::uint64_t bytes_max)> make;
  friend void PrintTo(const SpoolMaker& maker, std::ostream* out) { *out << maker.name; }
};

// Owns the directory of the spool that it is.
class LmdbSpoolInTemp final : public Spool {
 public:
  explicit LmdbSpoolInTemp(std::uint64_t bytes_max, std::uint64_t memory_bytes_max)
      : spool_(LmdbSpool::make({.dir = temp_.file("spool"),
                                .bytes_max = bytes_max,
                                .memory_bytes_max = memory_bytes_max,
                                .dead_letter_bytes_max = 1 << 20},
                               clock_, log_)
                   .value()) {}
  Result<SpoolRecovery> recover() override { return spool_->recover(); }
  Result<RecordBlockPtr> load(LogPosition from) const override { return spool_->load(from); }
  void open(SpoolEvents& events) override { spool_->open(events); }
  void close() override { spool_->close(); }
  Result<LogPosition> append(std::shared_ptr<RecordBlock> block) override { return spool_->append(std::move(block)); }
  RecordBlockPtr read(LogPosition from) const override { return spool_->read(from); }
  void trim(LogPosition through) override { spool_->trim(through); }
  SpoolUsage usage() const override { return spool_->usage(); }
  LogPosition durable_through() const override { return spool_->durable_through(); }
  bool durable() const noexcept override { return spool_->durable(); }
  void save_lanes(std::vector<SavedLane> lanes) override { spool_->save_lanes(std::move(lanes)); }
  void save_devices(std::vector<DeviceMarks> changed, std::vector<DeviceId> gone, LogPosition through) override {
    spool_->save_devices(std::move(changed), std::move(gone), through);
  }
  LogPosition checkpoint() const override { return spool_->checkpoint(); }

 private:
  test::TempDir temp_;
  SystemClock clock_;
  test::SilentLog log_;
  std::unique_ptr<LmdbSpool> spool_;
};

class SpoolContract : public testing::TestWithParam<SpoolMaker> {
 protected:
  ~SpoolContract() override {
    if (spool_) spool_->close();
  }
  // Made, recovered and open.
  Spool& make(std::uint64_t bytes_max = 10'000'000) {
    spool_ = GetParam().make(bytes_max);
    EXPECT_TRUE(spool_->recover());
    spool_->open(events_);
    return *spool_;
  }
  // read(), however long it takes to fetch; nullptr at the end alone.
  RecordBlockPtr read(std::uint64_t from) {
    RecordBlockPtr block;
    const auto there = [&] {
      block = spool_->read({from});
      return block != nullptr || from >= spool_->usage().next.value;
    };
    EXPECT_TRUE(events_.wait_for(there));
    return block;
  }
  bool eventually(const std::function<bool(const SpoolUsage&)>& met) {
    return events_.wait_for([&] { return met(spool_->usage()); });
  }
  bool settled() {  // all is as durable as it will be
    return !spool_->durable() || eventually([](const SpoolUsage& usage) { return usage.unsaved_bytes == 0; });
  }

  WatchedEvents events_;
  std::unique_ptr<Spool> spool_;
};

TEST_P(SpoolContract, BeginsEmptyAtPositionOne) {
  Spool& spool = make();
  const SpoolUsage usage = spool.usage();
  EXPECT_EQ(usage.records, 0U);
  EXPECT_EQ(usage.bytes, 0U);
  EXPECT_EQ(usage.bytes_max, 10'000'000U);
  EXPECT_EQ(usage.unsaved_bytes, 0U);
  EXPECT_EQ(usage.first, LogPosition{1});
  EXPECT_EQ(usage.next, LogPosition{1});
  EXPECT_EQ(usage.state, SpoolState::ok);
  EXPECT_EQ(usage.error, "");
  EXPECT_EQ(spool.read({1}), nullptr);
  EXPECT_EQ(spool.durable_through(), LogPosition{});
  EXPECT_EQ(spool.checkpoint(), LogPosition{});
}

TEST_P(SpoolContract, RecoversNothingWhereNothingWas) {
  const auto spool = GetParam().make(1'000'000);
  const auto recovery = spool->recover();
  ASSERT_TRUE(recovery);
  EXPECT_TRUE(recovery->lanes.empty());
  EXPECT_TRUE(recovery->devices.empty());
  EXPECT_EQ(recovery->checkpoint, LogPosition{});
  EXPECT_EQ(spool->load({1}).value(), nullptr);
}

TEST_P(SpoolContract, NumbersRecordsWithoutHoles) {
  Spool& spool = make();
  EXPECT_EQ(spool.append(make_block(3)).value(), LogPosition{1});
  EXPECT_EQ(spool.append(make_block(1)).value(), LogPosition{4});
  EXPECT_EQ(spool.append(make_block(5)).value(), LogPosition{5});
  EXPECT_EQ(spool.usage().records, 9U);
  EXPECT_EQ(spool.usage().next, LogPosition{10});
}

TEST_P(SpoolContract, RefusesABlockWithoutRecords) {
  Spool& spool = make();
  EXPECT_EQ(spool.append(make_block(0)).error().code, Errc::invalid_argument);
  EXPECT_EQ(spool.usage().next, LogPosition{1});
}

TEST_P(SpoolContract, ReadsTheBlockThatHoldsAPosition) {
  Spool& spool = make();
  for (const std::size_t size : {3U, 1U, 5U}) ASSERT_TRUE(spool.append(make_block(size)));
  for (std::uint64_t position = 1; position <= 9; ++position) {
    const RecordBlockPtr block = read(position);
    ASSERT_NE(block, nullptr);
    EXPECT_LE(block->first_position().value, position);
    EXPECT_GE(block->last_position().value, position);
  }
  EXPECT_EQ(spool.read({10}), nullptr);
}

TEST_P(SpoolContract, KeepsEveryPartOfARecord) {
  Spool& spool = make();
  RecordView view;
  view.kind = RecordKind::event;
  view.device = "pump-7";
  view.name = "overheated";
  view.stream = {11};
  view.seq = {12};
  view.epoch = {13};
  view.received_unix_ms = 1'700'000'000'123;
  view.payload = std::as_bytes(std::span("\0\1\2", 3));
  view.session = {5, 6};
  view.lanes = 0b101;
  const auto block = std::make_shared<RecordBlock>(3);
  block->append(view);
  ASSERT_TRUE(spool.append(block));
  ASSERT_TRUE(settled());
  const RecordBlockPtr found = read(1);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->shard(), 3U);
  const RecordView kept = (*found)[0];
  EXPECT_EQ(kept.kind, RecordKind::event);
  EXPECT_EQ(kept.device, "pump-7");
  EXPECT_EQ(kept.name, "overheated");
  EXPECT_EQ(kept.stream, StreamId{11});
  EXPECT_EQ(kept.seq, Seq{12});
  EXPECT_EQ(kept.epoch, Epoch{13});
  EXPECT_EQ(kept.received_unix_ms, 1'700'000'000'123);
  EXPECT_TRUE(std::ranges::equal(kept.payload, view.payload));
  EXPECT_EQ(kept.session, (SessionRef{5, 6}));
  EXPECT_EQ(kept.lanes, 0b101U);
}

TEST_P(SpoolContract, GivesUpOnlyWholeBlocks) {
  Spool& spool = make();
  for (const std::size_t size : {3U, 3U, 3U}) ASSERT_TRUE(spool.append(make_block(size)));
  spool.trim({5});
  ASSERT_TRUE(eventually([](const SpoolUsage& usage) { return usage.first == LogPosition{4}; }));
  EXPECT_EQ(spool.usage().records, 6U);
  EXPECT_EQ(read(1)->first_position(), LogPosition{4});  // the first kept after it
  spool.trim({2});                                       // behind: nothing
  spool.trim({9});
  ASSERT_TRUE(eventually([](const SpoolUsage& usage) { return usage.first == LogPosition{10}; }));
  EXPECT_EQ(spool.usage().records, 0U);
  EXPECT_EQ(spool.usage().bytes, 0U);
  EXPECT_EQ(spool.append(make_block(1)).value(), LogPosition{10});
}

TEST_P(SpoolContract, RefusesWhatDoesNotFitAndTakesItOnceThereIsRoom) {
  Spool& spool = make(100'000);
  std::uint64_t kept = 0;
  Result<LogPosition> refused = spool.append(make_block(10));
  for (; refused; refused = spool.append(make_block(10))) {
    kept += 10;
    ASSERT_LE(spool.usage().bytes, spool.usage().bytes_max);
    ASSERT_LT(kept, 10'000U);
  }
  EXPECT_GE(kept, 100U);
  const auto next = make_block(10, 77);
  EXPECT_EQ(refused.error().code, Errc::full);
  EXPECT_EQ(next->first_position(), LogPosition{});
  EXPECT_EQ(spool.usage().records, kept);
  spool.trim({kept / 20 * 10});
  LogPosition first;
  const auto taken = [&] {
    const auto appended = spool.append(next);
    if (appended) first = *appended;
    return appended.has_value();
  };
  ASSERT_TRUE(events_.wait_for(taken));
  EXPECT_GT(first.value, kept);
  EXPECT_EQ((*read(first.value))[0].seq, Seq{77});
}

TEST_P(SpoolContract, KeepsABlockAliveForWhoeverHasReadIt) {
  Spool& spool = make();
  ASSERT_TRUE(spool.append(make_block(2, 40)));
  const RecordBlockPtr block = read(1);
  spool.trim({2});
  ASSERT_TRUE(eventually([](const SpoolUsage& usage) { return usage.records == 0; }));
  EXPECT_EQ((*block)[1].seq, Seq{41});
}

TEST_P(SpoolContract, SaysHowFarItIsDurable) {
  Spool& spool = make();
  ASSERT_TRUE(spool.append(make_block(2)));
  if (!spool.durable()) {
    EXPECT_EQ(spool.durable_through(), LogPosition{});
    EXPECT_EQ(spool.usage().unsaved_bytes, 0U);
    return;
  }
  ASSERT_TRUE(events_.wait_for([&] { return spool.durable_through() == LogPosition{2}; }));
  EXPECT_TRUE(events_.wait_for([&] { return events_.durable_count > 0; }));
  EXPECT_EQ(spool.usage().unsaved_bytes, 0U);
}

TEST_P(SpoolContract, CanBeClosedTwice) {
  Spool& spool = make();
  ASSERT_TRUE(spool.append(make_block(2)));
  spool.close();
  spool.close();
  if (spool.durable()) {
    EXPECT_EQ(spool.durable_through(), LogPosition{2});
    EXPECT_EQ(spool.append(make_block(1)).error().code, Errc::unavailable);
  }
}

TEST_P(SpoolContract, AgreesWithAListOfBlocksUnderRandomUse) {
  std::mt19937 random(5);
  Spool& spool = make(200'000);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> kept;  // first, last
  std::uint64_t next = 1;
  int refused = 0;
  for (int i = 0; i < 5'000; ++i) {
    if (random() % 2 == 0) {
      const std::size_t size = 1 + random() % 64;
      if (spool.append(make_block(size))) {
        kept.emplace_back(next, next + size - 1);
        next += size;
      } else {
        ++refused;
      }
    } else if (random() % 64 == 0) {
      const std::uint64_t through = next - random() % 300 % next;
      spool.trim({through});
      std::erase_if(kept, [&](const auto& block) { return block.second <= through; });
      const std::uint64_t first = kept.empty() ? next : kept.front().first;
      ASSERT_TRUE(eventually([&](const SpoolUsage& usage) { return usage.first.value == first; }));
    }
    const std::uint64_t from = next - random() % 300 % next;
    const auto expected = std::ranges::find_if(kept, [&](const auto& block) { return block.second >= from; });
    const RecordBlockPtr block = read(from);
    ASSERT_EQ(block == nullptr, expected == kept.end());
    if (block) {
      ASSERT_EQ(block->first_position().value, expected->first);
    }
    ASSERT_LE(spool.usage().bytes, 200'000U);
  }
  EXPECT_GT(refused, 0);
}

TEST_P(SpoolContract, KeepsEachThreadsOrder) {
  Spool& spool = make(100'000'000);
  const auto write = [&](std::uint32_t shard) {
    for (std::uint64_t seq = 1; seq <= 500; ++seq) {
      auto taken = spool.append(make_block(1, seq, shard));
      for (; !taken && taken.error().code == Errc::full; taken = spool.append(make_block(1, seq, shard))) {
        std::this_thread::yield();
      }
      EXPECT_TRUE(taken);
    }
  };
  std::thread one(write, 1);
  std::thread two(write, 2);
  std::uint64_t last[3] = {0, 0, 0};
  for (std::uint64_t position = 1; position <= 1'000;) {
    const RecordBlockPtr block = spool.read({position});
    if (!block) {
      std::this_thread::yield();
      continue;
    }
    EXPECT_EQ(block->first_position().value, position);
    EXPECT_EQ((*block)[0].seq.value, ++last[block->shard()]);
    spool.trim({position++});
  }
  one.join();
  two.join();
  EXPECT_TRUE(eventually([](const SpoolUsage& usage) { return usage.records == 0; }));
}

INSTANTIATE_TEST_SUITE_P(
    Every, SpoolContract,
    testing::Values(SpoolMaker{"memory",
                               [](std::uint64_t bytes_max) { return std::make_unique<MemorySpool>(bytes_max); }},
                    SpoolMaker{"lmdb",
                               [](std::uint64_t bytes_max) {
                                 return std::make_unique<LmdbSpoolInTemp>(bytes_max, std::uint64_t{64} << 20);
                               }},
                    // Nothing stays in memory once it is durable.
                    SpoolMaker{"lmdb_little_memory",
                               [](std::uint64_t bytes_max) {
                                 return std::make_unique<LmdbSpoolInTemp>(bytes_max, std::uint64_t{64} << 10);
                               }}),
    [](const auto& of) { return of.param.name; });

}  // namespace
}  // namespace fieldgate::spool
