// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/timeline_desk.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace fieldgate::control {
namespace {

constexpr std::size_t k_fields_max = 16;
constexpr std::size_t k_value_bytes_max = 256;

// To at most `max` bytes, and not within a character of UTF-8.
void cut(std::string& text, std::size_t max) {
  if (text.size() <= max) return;
  while (max > 0 && (static_cast<unsigned char>(text[max]) & 0xC0) == 0x80) --max;
  text.resize(max);
}

}  // namespace

TimelineDesk::TimelineDesk(StoreWorker& worker, PresenceLog& presence, const TimelineLimits& limits, Log& log)
    : worker_(worker), presence_(presence), limits_(limits), log_(log) {
  worker_.after(limits_.flush_every, [this] { tick(); });
}

void TimelineDesk::hand_in() {
  for (std::size_t batches = limits_.queue_max / limits_.batch_max + 1; batches > 0 && flush(); --batches) {
  }
}

void TimelineDesk::record(TimelineEntry entry) {
  if (entry.fields.size() > k_fields_max) entry.fields.resize(k_fields_max);
  for (auto& [name, value] : entry.fields) cut(value, k_value_bytes_max);
  bool full_batch = false;
  {
    const MutexLock lock(mutex_);
    if (queue_.size() + writing_ >= limits_.queue_max) {
      ++dropped_;
      return;
    }
    entry.number = next_++;
    queue_.push_back(std::move(entry));
    full_batch = queue_.size() >= limits_.batch_max && writing_ == 0;
  }
  if (full_batch && worker_.available()) flush();
}

void TimelineDesk::refused(RefusalEntry refusal) {
  cut(refusal.detail, k_value_bytes_max);
  const MutexLock lock(mutex_);
  refusals_.push_front(std::move(refusal));
  if (refusals_.size() > limits_.refusals) refusals_.pop_back();
}

std::vector<RefusalEntry> TimelineDesk::refusals(std::size_t limit) const {
  const MutexLock lock(mutex_);
  const std::size_t count = std::min(limit, refusals_.size());
  return {refusals_.begin(), refusals_.begin() + static_cast<std::ptrdiff_t>(count)};
}

void TimelineDesk::timeline(const DeviceId& id, std::uint64_t before, std::size_t limit,
                            Reply<std::vector<TimelineEntry>> reply) {
  hand_in();
  auto entries = std::make_shared<std::vector<TimelineEntry>>();
  const bool taken = worker_.submit(
      [entries, id, before, limit](DeviceStore& store) -> Result<void> {
        auto read = store.timeline(id, before, limit);
        if (!read) return read.error();
        *entries = std::move(*read);
        return {};
      },
      [entries, reply](const Result<void>& outcome) {
        if (!outcome) return reply(outcome.error());
        reply(std::move(*entries));
      });
  if (!taken) {
    worker_.post([reply] { reply(make_error(Errc::unavailable, "too much waits for the store: try later")); });
  }
}

void TimelineDesk::tick() {
  worker_.after(limits_.flush_every, [this] { tick(); });
  if (worker_.available()) hand_in();
  std::uint64_t dropped = 0;
  {
    const MutexLock lock(mutex_);
    dropped = std::exchange(dropped_, 0);
  }
  if (dropped > 0) log_.warn("timeline_entries_dropped", {{"count", dropped}});
}

bool TimelineDesk::flush() {
  auto batch = std::make_shared<std::vector<TimelineEntry>>();
  {
    const MutexLock lock(mutex_);
    const std::size_t count = std::min(queue_.size(), limits_.batch_max);
    if (count == 0) return false;
    const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
    batch->assign(std::move_iterator(queue_.begin()), std::move_iterator(end));
    queue_.erase(queue_.begin(), end);
    writing_ += count;
  }
  send(batch);
  return true;
}

void TimelineDesk::send(const Batch& batch) {
  const bool taken =
      worker_.submit([batch, keep = limits_.entries](DeviceStore& store) { return store.add_timeline(*batch, keep); },
                     [this, batch](const Result<void>& outcome) { written(batch, outcome); });
  if (!taken) put_back(batch);
}

void TimelineDesk::written(const Batch& batch, const Result<void>& outcome) {
  const auto failed_with = [&outcome](Errc code) { return !outcome && outcome.error().code == code; };
  if (failed_with(Errc::unavailable) || failed_with(Errc::timed_out)) return put_back(batch);
  if (!outcome && batch->size() > 1) {  // one of them is at fault: the others need not go with it
    const auto middle = batch->begin() + static_cast<std::ptrdiff_t>(batch->size() / 2);
    send(std::make_shared<std::vector<TimelineEntry>>(batch->begin(), middle));
    return send(std::make_shared<std::vector<TimelineEntry>>(middle, batch->end()));
  }
  if (!outcome) log_.warn("timeline_entry_not_taken", {{"error", outcome.error().detail}});
  const MutexLock lock(mutex_);
  writing_ -= batch->size();
  if (!outcome) ++dropped_;
}

void TimelineDesk::put_back(const Batch& batch) {
  const MutexLock lock(mutex_);
  writing_ -= batch->size();
  const auto before = [](const TimelineEntry& a, const TimelineEntry& b) { return a.number < b.number; };
  const auto rest =
      queue_.insert(queue_.begin(), std::move_iterator(batch->begin()), std::move_iterator(batch->end())) +
      static_cast<std::ptrdiff_t>(batch->size());
  std::inplace_merge(queue_.begin(), rest, queue_.end(), before);
}

}  // namespace fieldgate::control
