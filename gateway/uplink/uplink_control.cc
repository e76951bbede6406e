// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/feed.h"

#include <algorithm>
#include <utility>

// What an operator may do to the lanes.
namespace fieldgate::uplink {
namespace {

Error no_letter(std::uint64_t id) {
  return make_error(Errc::not_found, "there is no dead letter " + std::to_string(id));
}

}  // namespace

Result<void> UplinkLog::set_paused(std::string_view lane, bool paused) {
  const auto at = std::ranges::find_if(lanes_, [&](const LaneEntry& entry) { return entry.spec.lane->name() == lane; });
  if (at == lanes_.end()) return make_error(Errc::not_found, "there is no lane '" + std::string(lane) + "'");
  const auto index = static_cast<std::size_t>(at - lanes_.begin());
  {
    const MutexLock lock(mutex_);
    places_[index].paused = paused;
    save_lanes(true);
  }
  // Another thread may have said the opposite meanwhile: the last word to the lane is
  // what holds.
  for (bool said = !paused; said != paused;) {
    said = paused;
    at->spec.lane->hold(said);
    const MutexLock lock(mutex_);
    paused = places_[index].paused;
  }
  if (!paused) at->spec.lane->notify();
  return {};
}

Result<void> UplinkLog::replay(std::uint64_t id) {
  const auto letter = letters_.find(id);
  if (!letter) return no_letter(id);
  return replay(*letter);
}

// Appended before it is removed, so that it cannot get lost in between.
Result<void> UplinkLog::replay(const DeadLetter& letter) {
  const auto at =
      std::ranges::find_if(lanes_, [&](const LaneEntry& entry) { return entry.spec.lane->name() == letter.lane; });
  if (at == lanes_.end()) {
    return make_error(Errc::not_found, "the lane '" + letter.lane + "' is not configured (any more)");
  }
  RecordView record = letter.record();
  record.lanes = LaneSet{1} << at->slot;
  if (at->feed->fate(record) != LaneFeed::Fate::send) {
    return make_error(Errc::invalid_argument,
                      "the lane does not take the record any more: max_age or kinds rule it out");
  }
  auto block = std::make_shared<RecordBlock>(0);
  block->append(record);
  block->seal();
  const RecordBlockPtr again = block;
  if (auto appended = append(std::move(block)); !appended) return appended;
  letters_.replayed(letter.id, again->last_position());
  return {};
}

Result<void> UplinkLog::discard(std::uint64_t id) {
  if (!letters_.remove(id)) return no_letter(id);
  return {};
}

LaneControl::Bulk UplinkLog::replay_all(const DeadLetterQuery& query) {
  const DeadLetterPage page = letters_.list(query);
  Bulk bulk;
  std::uint64_t after = query.after;
  for (const DeadLetter& letter : page.letters) {
    if (const auto replayed = replay(letter); !replayed) {
      bulk.stopped = replayed.error();
      const bool later = bulk.stopped->code == Errc::full || bulk.stopped->code == Errc::unavailable;
      bulk.next_after = later ? after : letter.id;
      return bulk;
    }
    ++bulk.done;
    after = letter.id;
  }
  bulk.next_after = page.next_after;
  return bulk;
}

LaneControl::Bulk UplinkLog::discard_all(const DeadLetterQuery& query) {
  const DeadLetterPage page = letters_.list(query);
  Bulk bulk;
  for (const DeadLetter& letter : page.letters) {
    if (letters_.remove(letter.id)) ++bulk.done;
  }
  bulk.next_after = page.next_after;
  return bulk;
}

}  // namespace fieldgate::uplink
