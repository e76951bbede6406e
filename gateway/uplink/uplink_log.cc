// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include "gateway/uplink/feed.h"

#include <algorithm>
#include <utility>

namespace fieldgate::uplink {
namespace {

constexpr std::uint64_t k_reduce_above = 50;  // percent of the spool's bytes
constexpr std::uint64_t k_reduce_until = 40;
constexpr std::uint64_t k_withhold_above = 80;
constexpr std::uint64_t k_withhold_until = 70;
constexpr std::uint64_t k_refuse_data_above = 95;
constexpr std::chrono::milliseconds k_save_lanes_every{100};
constexpr std::int64_t k_presence_patience_ms = 2'000;

bool above(std::uint64_t bytes, std::uint64_t bytes_max, std::uint64_t percent) noexcept {
  return bytes * 100 > bytes_max * percent;
}

// A level is left lower than it was entered, so that it does not flap.
UplinkLevel level_at(std::uint64_t bytes, std::uint64_t bytes_max, UplinkLevel now) noexcept {
  if (above(bytes, bytes_max, now == UplinkLevel::withheld ? k_withhold_until : k_withhold_above)) {
    return UplinkLevel::withheld;
  }
  if (above(bytes, bytes_max, now == UplinkLevel::normal ? k_reduce_above : k_reduce_until)) {
    return UplinkLevel::reduced;
  }
  return UplinkLevel::normal;
}

bool is_presence(const RecordBlock& block) noexcept { return block[0].kind == RecordKind::presence; }

}  // namespace

UplinkLog::UplinkLog(Spool& spool, DeadLetterStore& letters, std::vector<LaneSpec> lanes, UplinkTiming timing,
                     const Clock& clock, Log& log)
    : spool_(spool),
      letters_(letters),
      timing_(timing),
      clock_(clock),
      log_(log),
      durable_(spool.durable()),
      outline_(spool.usage().bytes_max) {
  for (LaneSpec& spec : lanes) {
    required_ = required_ || spec.lane->required();
    lanes_.push_back({std::move(spec), 0, nullptr});
  }
}

UplinkLog::~UplinkLog() = default;

void UplinkLog::attach(std::uint32_t shard, StageSink& sink) {
  if (shard >= sinks_.size()) sinks_.resize(shard + std::size_t{1}, nullptr);
  sinks_[shard] = &sink;
}

void UplinkLog::start() {
  std::vector<bool> paused;
  {
    const MutexLock lock(mutex_);
    checkpoint_asked_at_ = lanes_saved_ = clock_.now();
    refresh_level();
    for (const Place& place : places_) paused.push_back(place.paused);
  }
  started_ = true;
  spool_.open(*this);
  {
    const MutexLock lock(mutex_);
    save_lanes(true);  // without those that are gone
  }
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (paused[i]) lanes_[i].spec.lane->hold(true);
    lanes_[i].spec.lane->start(*lanes_[i].feed);
  }
  tell(Track::forwarded);
  tell(Track::levels);
}

void UplinkLog::stop(std::chrono::milliseconds patience) {
  const Monotonic deadline = clock_.now() + patience;
  for (const LaneEntry& entry : lanes_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock_.now());
    entry.spec.lane->stop(std::max(left, std::chrono::milliseconds{0}));
  }
  if (!std::exchange(started_, false)) return;
  {
    const MutexLock lock(mutex_);
    save_lanes(true);
    checkpoint_wanted_ = true;
  }
  // If the spool's own thread is telling, it finds the wish there.
  tell(Track::spooled);
  spool_.close();
}

void UplinkLog::tick() {
  {
    const MutexLock lock(mutex_);
    expire();
    trim();
    if (lanes_changed_) save_lanes(false);
  }
  notify_waiting();  // what a lane waits for may have been given up
  tell(Track::spooled);
  tell(Track::forwarded);
  tell(Track::levels);
}

Result<void> UplinkLog::submit(std::shared_ptr<RecordBlock> block) {
  if (durable_ && !block->empty() && !is_presence(*block)) {
    const SpoolUsage usage = spool_.usage();
    if (above(usage.bytes, usage.bytes_max, k_refuse_data_above)) {
      return make_error(Errc::full, "what is left of the spool is for presence");
    }
  }
  return append(std::move(block));
}

Result<void> UplinkLog::append(std::shared_ptr<RecordBlock> block) {
  if (failed_.load(std::memory_order_relaxed)) return make_error(Errc::unavailable, "the spool has failed");
  {
    const RecordBlockPtr appended = block;
    const MutexLock lock(mutex_);
    const auto first = spool_.append(std::move(block));
    if (first.has_error()) return first.error();
    outline_.add(*appended);
    last_ = appended->last_position();
    trim();
  }
  for (const LaneEntry& entry : lanes_) entry.spec.lane->notify();
  tell(Track::levels);
  return {};
}

AckStage UplinkLog::grant(AckStage wanted) const noexcept {
  const bool spools = durable_ && !failed_.load(std::memory_order_relaxed);
  const AckStage best_here = spools ? AckStage::spooled : AckStage::accepted;
  const AckStage strongest = required_ ? AckStage::forwarded : best_here;
  switch (wanted) {
    case AckStage::accepted: return AckStage::accepted;
    case AckStage::forwarded: return strongest;
    case AckStage::unspecified:
    case AckStage::spooled: break;
  }
  return spools ? AckStage::spooled : strongest;
}

std::uint64_t UplinkLog::pending() const {
  const MutexLock lock(mutex_);
  return required_ ? last_.value - forwarded_through().value : 0;
}

std::uint64_t UplinkLog::unsaved() const {
  if (!durable_) return 0;
  const MutexLock lock(mutex_);
  return last_.value - std::min(last_, spool_.durable_through()).value;
}

std::vector<LaneStatus> UplinkLog::lanes() const {
  std::vector<LaneStatus> statuses;
  statuses.reserve(lanes_.size());
  for (const LaneEntry& entry : lanes_) statuses.push_back(entry.spec.lane->status());
  const std::int64_t now = clock_.unix_ms();
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const LaneCursor& cursor = places_[i].cursor;
    LaneStatus& status = statuses[i];
    status.held = places_[i].paused;
    status.forwarded_records = cursor.account().forwarded;
    status.filtered_records = cursor.account().filtered;
    status.dead_lettered_records = cursor.account().dead_lettered;
    status.expired_records = cursor.account().expired;
    status.skipped_records = cursor.skipped();
    status.pending_records = cursor.pending(last_);
    // By positions alone, not as the sum of the above: so that the account can be wrong,
    // and then shows it.
    status.records_in = last_.value + 1 - lanes_[i].feed->start().value;
    status.oldest_pending_ms = 0;
    if (status.pending_records == 0) continue;
    const LogPosition next = cursor.past_gaps({cursor.completed().value + 1});
    std::int64_t received = outline_.received_unix_ms(next);
    if (const RecordBlockPtr block = spool_.read(next)) {
      const std::uint64_t first = block->first_position().value;
      received = (*block)[next.value > first ? next.value - first : 0].received_unix_ms;
    }
    if (received > 0) status.oldest_pending_ms = std::max<std::int64_t>(now - received, 0);
  }
  return statuses;
}

RecordBlockPtr UplinkLog::read(std::size_t lane, LogPosition from) {
  const MutexLock lock(mutex_);
  Place& place = places_[lane];
  if (place.paused) return nullptr;
  from = place.cursor.past_gaps(from);
  RecordBlockPtr block = spool_.read(from);
  while (block) {
    // The first block kept after `from` may itself have been given up.
    const LogPosition next = place.cursor.past_gaps(block->last_position());
    if (next == block->last_position()) break;
    block = spool_.read(next);
  }
  // Told to the world and then forgotten in a crash, a device that never comes back
  // would be online for ever: nobody would know that it needs an offline.
  // A disk that hangs must not hold the lanes for that, though.
  if (block && durable_ && state_ == SpoolState::ok && is_presence(*block) &&
      block->last_position() > spool_.durable_through() &&
      clock_.unix_ms() - (*block)[0].received_unix_ms < k_presence_patience_ms) {
    block = nullptr;
  }
  place.waiting = !block && from <= last_;
  if (block) place.cursor.hand(block->last_position());
  return block;
}

void UplinkLog::completed(std::size_t lane, LogPosition through, const LaneOutcome& outcome) {
  {
    const MutexLock lock(mutex_);
    LaneCursor& cursor = places_[lane].cursor;
    if (outcome.dead_lettered > 0 && cursor.required()) {
      if (buried_.value <= spool_.durable_through().value) buried_after_ = cursor.completed();
      buried_after_ = std::min(buried_after_, cursor.completed());
      buried_ = std::max(buried_, through);
    }
    cursor.complete(through, outcome);
    lanes_changed_ = true;
    save_lanes(false);
    trim();
  }
  tell(Track::forwarded);
  tell(Track::levels);
}

// Precondition: there is a required lane.
LogPosition UplinkLog::forwarded_through() const {
  LogPosition low = last_;
  for (const Place& place : places_) {
    if (place.cursor.required()) low = std::min(low, place.cursor.completed());
  }
  return low;
}

// A dead letter becomes durable after its lane was done with the record. Until then the
// record itself must be, so that the lane finds it again: one that is neither may not be
// acknowledged.
LogPosition UplinkLog::tellable_through() const {
  const LogPosition through = forwarded_through();
  if (!durable_) return through;
  const LogPosition durable = spool_.durable_through();
  return buried_ <= durable ? through : std::min(through, std::max(buried_after_, durable));
}

// Up to here the shards need nothing more of the log.
LogPosition UplinkLog::told_through() const {
  LogPosition through = last_;
  if (required_) through = std::min(through, told_forwarded_);
  if (durable_) through = std::min(through, told_spooled_);
  return through;
}

// While the log is more than half full, moves best-effort lanes past the oldest
// records that only they still hold.
void UplinkLog::make_room() {
  const SpoolUsage usage = spool_.usage();
  if (level_at(usage.bytes, usage.bytes_max, level()) == UplinkLevel::normal) return;
  // What has been given up already must be gone first, or it would be counted again.
  if (usage.first <= trimmed_) return;
  const std::uint64_t enough = usage.bytes_max / 100 * k_reduce_until;
  if (usage.bytes <= enough) return;
  // On disk a record may take another space than in memory.
  const double scale = static_cast<double>(outline_.bytes()) / static_cast<double>(usage.bytes);
  const auto excess = static_cast<std::uint64_t>(static_cast<double>(usage.bytes - enough) * scale);
  const auto through = outline_.through_bytes(excess, told_through());
  if (!through) return;
  for (Place& place : places_) {
    if (place.cursor.required()) continue;
    place.cursor.release(*through);
    untold_skips_ += place.cursor.give_up(*through, LaneCursor::Cause::skipped);
  }
}

void UplinkLog::expire() {
  const std::int64_t now = clock_.unix_ms();
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const std::chrono::milliseconds max_age = lanes_[i].spec.max_age;
    if (max_age.count() == 0) continue;
    const auto through = outline_.through_time(now - max_age.count());
    if (!through) continue;
    const std::uint64_t records = places_[i].cursor.give_up(*through, LaneCursor::Cause::expired);
    untold_expiries_ += records;
    lanes_changed_ = lanes_changed_ || records > 0;
  }
}

void UplinkLog::trim() {
  make_room();
  LogPosition through = told_through();
  if (durable_) through = std::min(through, spool_.checkpoint());
  for (const Place& place : places_) through = std::min(through, place.cursor.floor());
  if (through > trimmed_) {
    spool_.trim(through);
    outline_.trim(through);
    trimmed_ = through;
  }
  refresh_level();
}

void UplinkLog::refresh_level() {
  SpoolUsage usage = spool_.usage();
  state_ = usage.state;
  error_ = std::move(usage.error);
  failed_.store(state_ == SpoolState::failed, std::memory_order_relaxed);
  UplinkLevel level = level_at(usage.bytes, usage.bytes_max, this->level());
  level = std::max(level, level_at(usage.unsaved_bytes, usage.unsaved_bytes_max, this->level()));
  if (state_ != SpoolState::ok) level = UplinkLevel::withheld;
  level_.store(level, std::memory_order_relaxed);
}

// `now`: however short ago they were saved last.
void UplinkLog::save_lanes(bool now) {
  if (!durable_) return;
  const Monotonic at = clock_.now();
  if (!now && at - lanes_saved_ < k_save_lanes_every) return;
  lanes_saved_ = at;
  lanes_changed_ = false;
  const LogPosition durable = spool_.durable_through();
  std::vector<SavedLane> saved;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    // The spool keeps less of it than that: once more, later.
    lanes_changed_ = lanes_changed_ || places_[i].cursor.completed() > durable;
    saved.push_back({lanes_[i].spec.lane->name(), lanes_[i].slot, places_[i].cursor.completed(), places_[i].paused});
  }
  spool_.save_lanes(std::move(saved));
}

}  // namespace fieldgate::uplink
