// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/feed.h"
#include "gateway/uplink/uplink_log.h"

#include <algorithm>
#include <utility>

namespace fieldgate::uplink {
namespace {

// Blocks that are looked at to learn how the log before the checkpoint is laid out.
constexpr std::uint64_t k_survey_blocks = 256;

RestoredDevice restored(const DeviceMarks& marks, LogPosition forwarded) {
  RestoredDevice device{
      marks.device, {}, marks.epoch, marks.online, marks.since_unix_ms, marks.last_data_unix_ms, marks.presence_lanes};
  for (const StreamMark& mark : {marks.streams[1], marks.streams[0]}) {  // the current one is opened last
    if (mark.id.value == 0) continue;
    StreamMarks* stream = device.streams.open(mark.id, {}, mark.logged);
    stream->received = stream->logged = stream->spooled = stream->gap_base = mark.logged;
    if (mark.position <= forwarded) stream->forwarded = mark.logged;
  }
  return device;
}

}  // namespace

Result<void> UplinkLog::recover() {
  auto recovery = spool_.recover();
  if (!recovery) return recovery.error();
  const SpoolUsage usage = spool_.usage();
  const LogPosition before{usage.first.value - 1};
  {
    const MutexLock lock(mutex_);
    last_ = {usage.next.value - 1};
    trimmed_ = before;
  }
  if (auto placed = place_lanes(recovery->lanes, before); !placed) return placed;
  const LogPosition checkpoint = std::clamp(recovery->checkpoint, before, LogPosition{usage.next.value - 1});
  ledger_.restore(std::move(recovery->devices));
  if (auto surveyed = survey(checkpoint); !surveyed) return surveyed;
  if (durable_) {
    if (auto replayed = replay_log({checkpoint.value + 1}); !replayed) return replayed;
  }
  const MutexLock lock(mutex_);
  told_spooled_ = last_;  // what outlived a process is durable
  told_forwarded_ = required_ ? forwarded_through() : before;
  checkpoint_asked_ = recovery->checkpoint;
  if (last_ > before || ledger_.size() > 0) {
    log_.info("uplink_recovered", {{"records", last_.value - before.value},
                                   {"replayed", last_.value - checkpoint.value},
                                   {"devices", ledger_.size()}});
  }
  return {};
}

// Gives every lane its slot and its place.
Result<void> UplinkLog::place_lanes(const std::vector<SavedLane>& saved, LogPosition before) {
  if (lanes_.size() > k_lanes_max) {
    return make_error(Errc::invalid_argument, std::to_string(lanes_.size()) + " lanes are configured; at most " +
                                                  std::to_string(k_lanes_max) + " are possible");
  }
  const MutexLock lock(mutex_);
  std::vector<const SavedLane*> known(lanes_.size(), nullptr);
  LaneSet taken = 0;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    const std::string& name = lanes_[i].spec.lane->name();
    for (std::size_t j = 0; j < i; ++j) {
      if (lanes_[j].spec.lane->name() == name) {
        return make_error(Errc::invalid_argument, "two lanes are named '" + name + "'");
      }
    }
    const auto at = std::ranges::find(saved, name, &SavedLane::name);
    if (at == saved.end() || at->slot >= k_lanes_max) continue;
    known[i] = &*at;
    taken |= LaneSet{1} << at->slot;
  }
  for (const SavedLane& lane : saved) {
    const bool gone =
        std::ranges::none_of(lanes_, [&](const LaneEntry& entry) { return entry.spec.lane->name() == lane.name; });
    if (!gone) continue;
    log_.warn("lane_forgotten", {{"lane", lane.name},
                                 {"pending_records", last_.value - std::clamp(lane.completed, before, last_).value},
                                 {"hint", "it is not configured any more; its records are given up"}});
  }
  std::vector<std::pair<std::uint32_t, LaneFilter>> filters;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    LaneEntry& entry = lanes_[i];
    LogPosition completed = last_;
    if (known[i] != nullptr) {
      entry.slot = known[i]->slot;
      completed = std::clamp(known[i]->completed, before, last_);
    } else {
      while ((taken >> entry.slot & 1U) != 0) ++entry.slot;
      taken |= LaneSet{1} << entry.slot;
    }
    const bool paused = known[i] != nullptr && known[i]->paused;
    places_.push_back({LaneCursor(entry.spec.lane->required(), completed), paused, false});
    entry.feed = std::make_unique<Feed>(*this, i, entry.slot, entry.spec, LogPosition{completed.value + 1});
    filters.emplace_back(entry.slot, entry.spec.filter);
  }
  filters_ = std::make_shared<LaneFilters>(std::move(filters));
  return {};
}

// Looks at blocks here and there until `end`, so that what a slow lane has left
// there can expire or make room piece by piece.
Result<void> UplinkLog::survey(LogPosition end) {
  const SpoolUsage usage = spool_.usage();
  if (usage.records == 0) return {};
  const std::uint64_t step = (end.value + 1 - usage.first.value) / k_survey_blocks + 1;
  std::int64_t received = 0;
  LogPosition before{usage.first.value - 1};  // the last look's end
  while (before < end) {
    const auto block = spool_.load({std::min(before.value + step, end.value)});
    if (!block) return block.error();
    if (!*block) break;
    const LogPosition last = (*block)->last_position();
    if (received == 0) received = (**block)[0].received_unix_ms;
    const std::int64_t newest = (**block)[(*block)->size() - 1].received_unix_ms;
    const MutexLock lock(mutex_);
    outline_.add(last, usage.bytes / usage.records * (last.value - before.value), received, newest);
    received = newest;
    before = last;
  }
  return {};
}

Result<void> UplinkLog::replay_log(LogPosition from) {
  for (;;) {
    const auto block = spool_.load(from);
    if (!block) return block.error();
    if (!*block) return {};
    ledger_.apply(**block);
    const MutexLock lock(mutex_);
    outline_.add(**block);
    bytes_since_checkpoint_ += (*block)->bytes();
    from = {(*block)->last_position().value + 1};
  }
}

std::vector<RestoredDevice> UplinkLog::take_restored() {
  LogPosition forwarded;
  {
    const MutexLock lock(mutex_);
    if (required_) forwarded = told_forwarded_;
  }
  std::vector<RestoredDevice> devices;
  devices.reserve(ledger_.size());
  for (const DeviceMarks& marks : ledger_.all()) devices.push_back(restored(marks, forwarded));
  return devices;
}

}  // namespace fieldgate::uplink
