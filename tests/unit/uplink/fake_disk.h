// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/spool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

// A durable spool whose disk outlives it.
namespace fieldgate::uplink {

// What is left after a crash.
struct Disk {
  std::map<std::uint64_t, RecordBlockPtr> blocks;  // by last position
  std::vector<SavedLane> lanes;
  std::map<std::string, DeviceMarks> devices;
  LogPosition checkpoint;
  LogPosition durable;
  // Every block that was ever on the disk, trimmed or not: what tests compare with.
  std::vector<RecordBlockPtr> ever;
};

// Works only when told: commit() is its writer, fetch() its reader. Both may run on
// threads of their own; nothing else is a thread.
class DiskSpool final : public Spool {
 public:
  DiskSpool(Disk& disk, std::uint64_t bytes_max) : disk_(disk), bytes_max_(bytes_max) {
    for (auto& [last, block] : disk_.blocks) {
      block = orphaned(*block);
      bytes_ += block->bytes();
    }
    next_ = {disk_.durable.value + 1};
  }

  Result<SpoolRecovery> recover() override {
    const MutexLock lock(mutex_);
    SpoolRecovery recovery{disk_.lanes, {}, disk_.checkpoint};
    for (const auto& [id, marks] : disk_.devices) recovery.devices.push_back(marks);
    return recovery;
  }
  Result<RecordBlockPtr> load(LogPosition from) const override {
    const MutexLock lock(mutex_);
    if (from == damaged) return make_error(Errc::malformed, "damaged");
    const auto at = disk_.blocks.lower_bound(from.value);
    return at == disk_.blocks.end() ? nullptr : at->second;
  }
  void open(SpoolEvents& events) override { events_ = &events; }
  void close() override {
    while (events_ != nullptr && commit()) {
    }
    closed = true;
  }

  Result<LogPosition> append(std::shared_ptr<RecordBlock> block) override {
    const MutexLock lock(mutex_);
    if (state_ == SpoolState::failed) return make_error(Errc::unavailable, "failed");
    if (bytes_ + block->bytes() > bytes_max_) return make_error(Errc::full, "full");
    block->set_first_position(next_);
    next_ = {block->last_position().value + 1};
    bytes_ += block->bytes();
    unsaved_bytes_ += block->bytes();
    const RecordBlockPtr kept = std::move(block);
    at_hand_[kept->last_position().value] = kept;
    queue_.push_back([this, kept]() REQUIRES(mutex_) {
      unsaved_bytes_ -= kept->bytes();
      disk_.blocks[kept->last_position().value] = kept;
      disk_.ever.push_back(kept);
      disk_.durable = kept->last_position();
    });
    return kept->first_position();
  }
  RecordBlockPtr read(LogPosition from) const override {
    const MutexLock lock(mutex_);
    const auto stored = disk_.blocks.lower_bound(from.value);
    const auto ready = at_hand_.lower_bound(from.value);
    if (ready != at_hand_.end() && (stored == disk_.blocks.end() || ready->first <= stored->first)) {
      return ready->second;
    }
    if (stored != disk_.blocks.end()) wanted_.insert(stored->first);
    return nullptr;
  }
  void trim(LogPosition through) override {
    const MutexLock lock(mutex_);
    EXPECT_LE(through, disk_.checkpoint);
    trim_ = std::max(trim_, through);
  }
  SpoolUsage usage() const override {
    const MutexLock lock(mutex_);
    SpoolUsage usage;
    usage.next = next_;
    usage.first = next_;
    if (!at_hand_.empty()) usage.first = at_hand_.begin()->second->first_position();
    if (!disk_.blocks.empty()) usage.first = std::min(usage.first, disk_.blocks.begin()->second->first_position());
    usage.records = usage.next.value - usage.first.value;
    usage.bytes = bytes_;
    usage.bytes_max = bytes_max_;
    usage.unsaved_bytes = unsaved_bytes_;
    usage.unsaved_bytes_max = bytes_max_ / 4;
    usage.state = state_;
    if (state_ != SpoolState::ok) usage.error = "disk: no good";
    return usage;
  }
  LogPosition durable_through() const override {
    const MutexLock lock(mutex_);
    return disk_.durable;
  }
  bool durable() const noexcept override { return true; }
  void save_lanes(std::vector<SavedLane> lanes) override {
    const MutexLock lock(mutex_);
    queue_.push_back([this, lanes = std::move(lanes)]() REQUIRES(mutex_) {
      disk_.lanes = lanes;
      for (SavedLane& lane : disk_.lanes) lane.completed = std::min(lane.completed, disk_.durable);
    });
  }
  void save_devices(std::vector<DeviceMarks> changed, std::vector<DeviceId> gone, LogPosition through) override {
    const MutexLock lock(mutex_);
    EXPECT_LE(through, disk_.durable);
    ++checkpoints;
    queue_.push_back([this, changed = std::move(changed), gone = std::move(gone), through]() REQUIRES(mutex_) {
      for (const DeviceMarks& marks : changed) disk_.devices.insert_or_assign(marks.device.str(), marks);
      for (const DeviceId& id : gone) disk_.devices.erase(id.str());
      disk_.checkpoint = through;
    });
  }
  LogPosition checkpoint() const override {
    const MutexLock lock(mutex_);
    return disk_.checkpoint;
  }

  // Makes the oldest unsaved thing durable; false: there is none.
  bool commit() {
    {
      const MutexLock lock(mutex_);
      delete_trimmed();
      if (queue_.empty() || state_ != SpoolState::ok) return false;
      queue_.front()();
      queue_.pop_front();
    }
    if (events_ != nullptr) events_->durable_advanced();
    return true;
  }
  void commit_all() {
    while (commit()) {
    }
  }
  // Brings what was asked for; false: nothing was.
  bool fetch() {
    {
      const MutexLock lock(mutex_);
      if (wanted_.empty()) return false;
      for (const std::uint64_t last : wanted_) {
        const auto stored = disk_.blocks.find(last);
        if (stored != disk_.blocks.end()) at_hand_.insert(*stored);
      }
      wanted_.clear();
    }
    events_->readable();
    return true;
  }
  // Has nothing at hand any more but what is not on disk.
  void forget() {
    const MutexLock lock(mutex_);
    std::erase_if(at_hand_, [&](const auto& block) REQUIRES(mutex_) { return block.first <= disk_.durable.value; });
  }
  void turn(SpoolState state) {
    {
      const MutexLock lock(mutex_);
      state_ = state;
    }
    events_->usage_changed();
  }

  LogPosition damaged;
  int checkpoints = 0;
  bool closed = false;

 private:
  // As of an earlier process: nobody waits for it.
  static RecordBlockPtr orphaned(const RecordBlock& block) {
    auto copy = std::make_shared<RecordBlock>(0);
    for (std::size_t i = 0; i < block.size(); ++i) {
      RecordView record = block[i];
      record.session = {};
      copy->append(record);
    }
    copy->set_first_position(block.first_position());
    return copy;
  }
  void delete_trimmed() REQUIRES(mutex_) {
    for (auto* blocks : {&disk_.blocks, &at_hand_}) {
      while (!blocks->empty() && blocks->begin()->first <= trim_.value) {
        if (blocks == &disk_.blocks) bytes_ -= blocks->begin()->second->bytes();
        blocks->erase(blocks->begin());
      }
    }
  }

  Disk& disk_;
  const std::uint64_t bytes_max_;
  SpoolEvents* events_ = nullptr;
  mutable Mutex mutex_;
  std::deque<std::function<void()>> queue_ GUARDED_BY(mutex_);  // for the disk, in order
  std::map<std::uint64_t, RecordBlockPtr> at_hand_ GUARDED_BY(mutex_);
  mutable std::set<std::uint64_t> wanted_ GUARDED_BY(mutex_);
  LogPosition next_ GUARDED_BY(mutex_);
  LogPosition trim_ GUARDED_BY(mutex_);
  std::uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  std::uint64_t unsaved_bytes_ GUARDED_BY(mutex_) = 0;
  SpoolState state_ GUARDED_BY(mutex_) = SpoolState::ok;
};

}  // namespace fieldgate::uplink
