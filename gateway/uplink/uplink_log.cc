// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace fieldgate::uplink {
namespace {

constexpr std::uint64_t k_reduce_above = 50;  // percent of the spool's bytes
constexpr std::uint64_t k_reduce_until = 40;
constexpr std::uint64_t k_withhold_above = 80;
constexpr std::uint64_t k_withhold_until = 70;

bool above(const SpoolUsage& usage, std::uint64_t percent) noexcept {
  return usage.bytes * 100 > usage.bytes_max * percent;
}

// A level is left lower than it was entered, so that it does not flap.
UplinkLevel level_at(const SpoolUsage& usage, UplinkLevel now) noexcept {
  if (above(usage, now == UplinkLevel::withheld ? k_withhold_until : k_withhold_above)) return UplinkLevel::withheld;
  if (above(usage, now == UplinkLevel::normal ? k_reduce_above : k_reduce_until)) return UplinkLevel::reduced;
  return UplinkLevel::normal;
}

std::uint64_t sum(const LaneOutcome& outcome) noexcept {
  return outcome.forwarded + outcome.filtered + outcome.dead_lettered + outcome.expired;
}

}  // namespace

class UplinkLog::Feed final : public LaneFeed {
 public:
  Feed(UplinkLog& log, std::size_t lane, LogPosition start) : log_(log), lane_(lane), start_(start) {}
  RecordBlockPtr read(LogPosition from) const override { return log_.read(lane_, from); }
  LogPosition start() const override { return start_; }
  Fate fate(const RecordView& /*record*/) const noexcept override { return Fate::send; }
  void completed(LogPosition through, const LaneOutcome& outcome) override { log_.completed(lane_, through, outcome); }

 private:
  UplinkLog& log_;
  const std::size_t lane_;
  const LogPosition start_;
};

UplinkLog::UplinkLog(Spool& spool, std::vector<Lane*> lanes, const Clock& clock, Log& log)
    : spool_(spool), clock_(clock), log_(log), durable_(spool.durable()), lanes_(std::move(lanes)) {
  const SpoolUsage usage = spool_.usage();
  const LogPosition before{usage.first.value - 1};
  const MutexLock lock(mutex_);
  last_ = {usage.next.value - 1};
  trimmed_ = told_forwarded_ = told_spooled_ = before;
  for (Lane* lane : lanes_) {
    Cursor& cursor = cursors_.emplace_back();
    cursor.required = lane->required();
    cursor.completed = cursor.handed = cursor.given_up = before;
    required_ = required_ || cursor.required;
    feeds_.push_back(std::make_unique<Feed>(*this, feeds_.size(), usage.first));
  }
}

UplinkLog::~UplinkLog() = default;

void UplinkLog::attach(std::uint32_t shard, StageSink& sink) {
  if (shard >= sinks_.size()) sinks_.resize(shard + std::size_t{1}, nullptr);
  sinks_[shard] = &sink;
}

void UplinkLog::start() {
  for (std::size_t i = 0; i < lanes_.size(); ++i) lanes_[i]->start(*feeds_[i]);
}

void UplinkLog::stop(std::chrono::milliseconds patience) {
  const Monotonic deadline = clock_.now() + patience;
  for (Lane* lane : lanes_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock_.now());
    lane->stop(std::max(left, std::chrono::milliseconds{0}));
  }
}

Result<void> UplinkLog::submit(std::shared_ptr<RecordBlock> block) {
  {
    const MutexLock lock(mutex_);
    const std::uint64_t size = block->size();
    const auto first = spool_.append(std::move(block));
    if (first.has_error()) return first.error();
    last_ = {first->value + size - 1};
    trim();
  }
  for (Lane* lane : lanes_) lane->notify();
  tell();
  return {};
}

AckStage UplinkLog::grant(AckStage wanted) const noexcept {
  const AckStage best_here = durable_ ? AckStage::spooled : AckStage::accepted;
  const AckStage strongest = required_ ? AckStage::forwarded : best_here;
  switch (wanted) {
    case AckStage::accepted: return AckStage::accepted;
    case AckStage::forwarded: return strongest;
    case AckStage::unspecified:
    case AckStage::spooled: break;
  }
  return durable_ ? AckStage::spooled : strongest;
}

std::uint64_t UplinkLog::pending() const {
  const MutexLock lock(mutex_);
  return required_ ? last_.value - forwarded_through().value : 0;
}

std::vector<LaneStatus> UplinkLog::lanes() const {
  std::vector<LaneStatus> statuses;
  statuses.reserve(lanes_.size());
  for (const Lane* lane : lanes_) statuses.push_back(lane->status());
  const std::int64_t now = clock_.unix_ms();
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const Cursor& cursor = cursors_[i];
    LaneStatus& status = statuses[i];
    status.forwarded_records = cursor.account.forwarded;
    status.filtered_records = cursor.account.filtered;
    status.dead_lettered_records = cursor.account.dead_lettered;
    status.expired_records = cursor.account.expired;
    status.skipped_records = cursor.skipped;
    status.pending_records = pending(cursor);
    status.oldest_pending_ms = 0;
    if (status.pending_records == 0) continue;
    const LogPosition next{cursor.completed.value + 1};
    if (const RecordBlockPtr block = spool_.read(next)) {
      const std::uint64_t first = block->first_position().value;
      const std::size_t index = next.value > first ? next.value - first : 0;
      status.oldest_pending_ms = std::max<std::int64_t>(now - (*block)[index].received_unix_ms, 0);
    }
  }
  return statuses;
}

void UplinkLog::durable_advanced() {
  {
    const MutexLock lock(mutex_);
    trim();
  }
  tell();
}

RecordBlockPtr UplinkLog::read(std::size_t lane, LogPosition from) {
  const MutexLock lock(mutex_);
  Cursor& cursor = cursors_[lane];
  RecordBlockPtr block = spool_.read(from);
  if (block) cursor.handed = std::max(cursor.handed, block->last_position());
  return block;
}

void UplinkLog::completed(std::size_t lane, LogPosition through, const LaneOutcome& outcome) {
  {
    const MutexLock lock(mutex_);
    Cursor& cursor = cursors_[lane];
    const std::uint64_t records = sum(outcome);
    assert(through >= cursor.completed && through <= cursor.handed);
    const std::uint64_t span = through.value - cursor.completed.value;
    assert(records <= span && (records == span || !cursor.required));
    cursor.completed = through;
    cursor.account.forwarded += outcome.forwarded;
    cursor.account.filtered += outcome.filtered;
    cursor.account.dead_lettered += outcome.dead_lettered;
    cursor.account.expired += outcome.expired;
    // What the lane passed over without a word was skipped: mostly booked so
    // already; the rest it had read, dropped, and not found again.
    const std::uint64_t passed_over = span - records;
    const std::uint64_t booked = std::min(passed_over, cursor.skipped_ahead);
    cursor.skipped_ahead -= booked;
    cursor.skipped += passed_over - booked;
    trim();
  }
  tell();
}

std::uint64_t UplinkLog::pending(const Cursor& cursor) const {
  return last_.value - cursor.completed.value - cursor.skipped_ahead;
}

// Precondition: there is a required lane.
LogPosition UplinkLog::forwarded_through() const {
  LogPosition low = last_;
  for (const Cursor& cursor : cursors_) {
    if (cursor.required) low = std::min(low, cursor.completed);
  }
  return low;
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
  if (level_at(usage, level()) == UplinkLevel::normal) return;
  const LogPosition limit = told_through();
  const std::uint64_t enough = usage.bytes_max / 100 * k_reduce_until;
  std::uint64_t bytes = usage.bytes;
  LogPosition through = trimmed_;
  while (bytes > enough) {
    const RecordBlockPtr block = spool_.read({through.value + 1});
    if (!block || block->last_position() > limit) break;
    through = block->last_position();
    bytes -= block->bytes();
  }
  for (Cursor& cursor : cursors_) {
    if (cursor.required || through <= cursor.given_up) continue;
    const LogPosition seen = std::max(cursor.handed, cursor.given_up);
    if (through > seen) {
      const std::uint64_t unread = through.value - seen.value;
      cursor.skipped += unread;
      cursor.skipped_ahead += unread;
      untold_skips_ += unread;
    }
    cursor.given_up = through;
  }
}

void UplinkLog::trim() {
  make_room();
  LogPosition through = told_through();
  for (const Cursor& cursor : cursors_) through = std::min(through, std::max(cursor.completed, cursor.given_up));
  if (through > trimmed_) {
    spool_.trim(through);
    trimmed_ = through;
  }
  level_.store(level_at(spool_.usage(), level()), std::memory_order_relaxed);
}

// Whoever comes while another thread is telling leaves it to that one, which looks
// again after each word.
void UplinkLog::tell() {
  for (bool mine = false;; mine = true) {
    Word word;
    {
      const MutexLock lock(mutex_);
      if (!mine && telling_) return;
      telling_ = next_word(word);
      if (!telling_) return;
    }
    say(word);
  }
}

bool UplinkLog::next_word(Word& word) {
  word.skipped = std::exchange(untold_skips_, 0);
  if (word.skipped > 0) return true;
  word.level = level();
  if (word.level != told_level_) {
    told_level_ = word.level;
    return true;
  }
  if (durable_ && told_spooled_ < spool_.durable_through()) {
    word.block = spool_.read({told_spooled_.value + 1});
    if (word.block && word.block->last_position() <= spool_.durable_through()) {
      word.stage = AckStage::spooled;
      told_spooled_ = word.block->last_position();
      trim();
      return true;
    }
  }
  if (required_ && told_forwarded_ < forwarded_through()) {
    word.block = spool_.read({told_forwarded_.value + 1});
    if (!word.block) return false;
    word.stage = AckStage::forwarded;
    told_forwarded_ = word.block->last_position();
    trim();
    return true;
  }
  return false;
}

void UplinkLog::say(const Word& word) {
  if (word.skipped > 0) {
    log_.warn("uplink_records_skipped", {{"records", word.skipped}});
    return;
  }
  if (!word.block) {
    if (word.level == UplinkLevel::normal) {
      log_.info("uplink_level", {{"level", to_string(word.level)}});
    } else {
      log_.warn("uplink_level", {{"level", to_string(word.level)}});
    }
    for (StageSink* sink : sinks_) {
      if (sink != nullptr) sink->level_changed(word.level);
    }
    return;
  }
  const std::uint32_t shard = word.block->shard();
  if (shard < sinks_.size() && sinks_[shard] != nullptr) sinks_[shard]->staged(word.stage, word.block);
}

}  // namespace fieldgate::uplink
