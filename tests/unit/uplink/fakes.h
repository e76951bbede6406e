// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/memory_spool.h"
#include "gateway/core/mutex.h"
#include "gateway/uplink/uplink_log.h"
#include "tests/support/fake_dead_letters.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

// Stand-ins for everything around the uplink log.
namespace fieldgate::uplink {

struct FakeClock final : Clock {
  Monotonic now() const noexcept override { return Monotonic{} + std::chrono::milliseconds(ms); }
  std::int64_t unix_ms() const noexcept override { return ms; }
  std::atomic<std::int64_t> ms = 1'000'000;
};

struct NoLog final : Log {
  bool enabled(LogLevel) const noexcept override { return false; }
  void write(LogLevel, std::string_view, std::initializer_list<LogField>) noexcept override {}
};

// Reads and completes only when the test says so.
class FakeLane final : public Lane {
 public:
  FakeLane(std::string name, bool required) : name_(std::move(name)), required_(required) {}

  const std::string& name() const noexcept override { return name_; }
  bool required() const noexcept override { return required_; }
  void start(LaneFeed& feed) override {
    feed_ = &feed;
    next_ = feed.start();
    completed_ = {next_.value - 1};
  }
  void notify() noexcept override { notified.fetch_add(1); }
  void hold(bool held) noexcept override { is_held = held; }
  LaneStatus status() const override {
    LaneStatus status;
    status.name = name_;
    status.required = required_;
    status.pending_records = 12'345;  // the log's business: to be overwritten
    return status;
  }
  void stop(std::chrono::milliseconds patience) override { stopped_with = patience; }

  // Takes the next block into its hands; false if there is none.
  bool take() {
    RecordBlockPtr block = feed_->read(next_);
    if (!block) return false;
    next_ = {block->last_position().value + 1};
    in_hand.push_back(std::move(block));
    return true;
  }
  // Completes the oldest `blocks` in hand with one call, all of them as forwarded
  // but for the first few.
  void complete(std::size_t blocks = 1, LaneOutcome outcome = {}) {
    LogPosition through;
    for (std::size_t i = 0; i < blocks; ++i) {
      outcome.forwarded += in_hand[i]->size();
      through = in_hand[i]->last_position();
    }
    outcome.forwarded -= outcome.filtered + outcome.dead_lettered + outcome.expired;
    in_hand.erase(in_hand.begin(), in_hand.begin() + static_cast<std::ptrdiff_t>(blocks));
    completed_ = through;
    feed_->completed(through, outcome);
  }
  // As complete(), but does with each record what the log says.
  void work(std::size_t blocks = 1) {
    LaneOutcome outcome;
    for (std::size_t i = 0; i < blocks; ++i) {
      for (std::size_t j = 0; j < in_hand[i]->size(); ++j) {
        const RecordView record = (*in_hand[i])[j];
        const LaneFeed::Fate fate = feed_->fate(record);
        if (fate == LaneFeed::Fate::filter) ++outcome.filtered;
        if (fate == LaneFeed::Fate::expire) ++outcome.expired;
        if (fate == LaneFeed::Fate::send && on_send) on_send(record);
      }
    }
    complete(blocks, outcome);
  }
  void work_all() {
    while (take()) work(in_hand.size());
  }
  void complete_all() {
    while (take()) complete(in_hand.size());
  }
  // As after a lost connection: what was in hand is read again.
  void start_over() {
    in_hand.clear();
    next_ = {completed_.value + 1};
  }

  LaneFeed& feed() { return *feed_; }

  std::vector<RecordBlockPtr> in_hand;
  std::function<void(const RecordView&)> on_send;
  std::atomic<int> notified{0};
  std::atomic<bool> is_held{false};
  std::chrono::milliseconds stopped_with{-1};

 private:
  const std::string name_;
  const bool required_;
  LaneFeed* feed_ = nullptr;
  LogPosition next_;
  LogPosition completed_;
};

class FakeSink final : public StageSink {
 public:
  void staged(AckStage stage, RecordBlockPtr block) override {
    if (during) std::exchange(during, nullptr)();
    const MutexLock lock(mutex_);
    staged_.emplace_back(stage, std::move(block));
  }
  void level_changed(UplinkLevel level) override {
    const MutexLock lock(mutex_);
    levels_.push_back(level);
  }
  std::vector<std::pair<AckStage, RecordBlockPtr>> staged() const {
    const MutexLock lock(mutex_);
    return staged_;
  }
  std::vector<UplinkLevel> levels() const {
    const MutexLock lock(mutex_);
    return levels_;
  }
  // First sequence number of each block that reached `stage`.
  std::vector<std::uint64_t> seqs(AckStage stage = AckStage::forwarded) const {
    std::vector<std::uint64_t> seqs;
    for (const auto& [reached, block] : staged()) {
      if (reached == stage) seqs.push_back((*block)[0].seq.value);
    }
    return seqs;
  }

  // Runs once, while the sink is being told of a block.
  std::function<void()> during;

 private:
  mutable Mutex mutex_;
  std::vector<std::pair<AckStage, RecordBlockPtr>> staged_ GUARDED_BY(mutex_);
  std::vector<UplinkLevel> levels_ GUARDED_BY(mutex_);
};

inline std::shared_ptr<RecordBlock> make_block(std::uint32_t shard, std::uint64_t seq, std::size_t records = 10,
                                               std::int64_t received_unix_ms = 0) {
  auto block = std::make_shared<RecordBlock>(shard);
  for (std::size_t i = 0; i < records; ++i) {
    RecordView view;
    view.device = "device";
    view.seq = {seq};
    view.received_unix_ms = received_unix_ms;
    view.payload = std::as_bytes(std::span("0123456789", 10));
    block->append(view);
  }
  block->seal();
  return block;
}

inline std::uint64_t block_bytes() { return make_block(0, 1)->bytes(); }

// Lanes that take everything, forever.
inline std::vector<LaneSpec> specs(const std::vector<Lane*>& lanes) {
  std::vector<LaneSpec> specs;
  for (Lane* lane : lanes) specs.push_back({lane, {}, std::chrono::seconds{0}});
  return specs;
}

// A log over memory with two shards' sinks, and room for a hundred equal blocks.
struct Bench {
  explicit Bench(const std::vector<Lane*>& lanes, std::uint64_t blocks_max = 100) : Bench(blocks_max, specs(lanes)) {}
  Bench(std::uint64_t blocks_max, std::vector<LaneSpec> lanes)
      : spool(blocks_max * block_bytes()), log(spool, letters, std::move(lanes), {}, clock, no_log) {
    EXPECT_TRUE(log.recover());
    log.attach(0, sinks[0]);
    log.attach(1, sinks[1]);
    log.start();
  }
  void submit(int blocks, std::uint32_t shard = 0) {
    for (int i = 0; i < blocks; ++i) ASSERT_TRUE(log.submit(make_block(shard, ++seq)));
  }

  FakeClock clock;
  NoLog no_log;
  spool::MemorySpool spool;
  test::FakeDeadLetters letters;
  FakeSink sinks[2];
  UplinkLog log;
  std::uint64_t seq = 0;
};

inline std::uint64_t records_in(const LaneStatus& status) {
  return status.forwarded_records + status.filtered_records + status.dead_lettered_records + status.expired_records +
         status.skipped_records + status.pending_records;
}

}  // namespace fieldgate::uplink
