// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/core/record.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/log.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

// What a lane stands on, for tests.
namespace fieldgate::test {

// Time that stands still until it is told to move.
class HandClock final : public Clock {
 public:
  Monotonic now() const noexcept override { return Monotonic{} + std::chrono::hours(1) + passed; }
  std::int64_t unix_ms() const noexcept override { return 1'700'000'000'000 + passed.count(); }
  std::chrono::milliseconds passed{0};
};

// Keeps what was logged as "event key=value ...". Any thread.
class TextLog final : public Log {
 public:
  bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view event, std::initializer_list<LogField> fields) noexcept override {
    std::string line(event);
    for (const LogField& field : fields) {
      line.append(" ").append(field.key).append("=");
      std::visit(
          [&line](const auto& value) {
            if constexpr (std::is_convertible_v<decltype(value), std::string_view>) {
              line.append(value);
            } else {
              line.append(std::to_string(value));
            }
          },
          field.value);
    }
    const MutexLock lock(mutex_);
    lines_.push_back(std::move(line));
  }
  bool has(std::string_view text) const {
    const MutexLock lock(mutex_);
    for (const std::string& line : lines_) {
      if (line.find(text) != std::string::npos) return true;
    }
    return false;
  }
  std::string all() const {
    const MutexLock lock(mutex_);
    std::string text;
    for (const std::string& line : lines_) text.append(line).append("\n");
    return text;
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> lines_ GUARDED_BY(mutex_);
};

// An uplink log in a vector. Any thread.
class FakeFeed final : public LaneFeed {
 public:
  void push(std::shared_ptr<RecordBlock> block) {
    const MutexLock lock(mutex_);
    block->set_first_position({next_});
    next_ += block->size();
    blocks_.push_back(std::move(block));
  }
  RecordBlockPtr read(LogPosition from) const override {
    if (fetching) return nullptr;
    const MutexLock lock(mutex_);
    const auto it =
        std::ranges::lower_bound(blocks_, from, {}, [](const auto& block) { return block->last_position(); });
    return it == blocks_.end() ? nullptr : *it;
  }
  LogPosition start() const override { return {1}; }
  Fate fate(const RecordView& record) const noexcept override { return decide ? decide(record) : Fate::send; }
  // What is there must be fetched first; the one who sets it back notifies the lane.
  std::atomic<bool> fetching{false};
  // Before the lane starts; empty: everything is sent.
  std::function<Fate(const RecordView&)> decide;
  void completed(LogPosition through, const LaneOutcome& outcome) override {
    const MutexLock lock(mutex_);
    through_ = through;
    outcome_.forwarded += outcome.forwarded;
    outcome_.filtered += outcome.filtered;
    outcome_.dead_lettered += outcome.dead_lettered;
    outcome_.expired += outcome.expired;
  }

  std::uint64_t last() const {
    const MutexLock lock(mutex_);
    return next_ - 1;
  }
  std::uint64_t through() const {
    const MutexLock lock(mutex_);
    return through_.value;
  }
  LaneOutcome outcome() const {
    const MutexLock lock(mutex_);
    return outcome_;
  }
  // True once everything that was pushed is completed.
  bool wait_done(std::chrono::milliseconds patience) const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (through() < last()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::shared_ptr<RecordBlock>> blocks_ GUARDED_BY(mutex_);
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
  LogPosition through_ GUARDED_BY(mutex_);
  LaneOutcome outcome_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::test
