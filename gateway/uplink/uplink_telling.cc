// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include <algorithm>
#include <utility>

// What the log tells others, and the checkpoints, which follow what was told.
namespace fieldgate::uplink {
namespace {

constexpr std::uint64_t k_checkpoint_bytes_max = 64 << 20;

}  // namespace

void UplinkLog::durable_advanced() {
  {
    const MutexLock lock(mutex_);
    if (lanes_changed_) save_lanes(false);
    trim();
  }
  notify_waiting();
  tell(Track::spooled);
  tell(Track::forwarded);  // what waited for that with a dead letter
  tell(Track::levels);
}

void UplinkLog::readable() {
  notify_waiting();
  tell(Track::spooled);
  tell(Track::forwarded);
  tell(Track::levels);
}

void UplinkLog::notify_waiting() {
  std::vector<Lane*> waiting;
  {
    const MutexLock lock(mutex_);
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (std::exchange(places_[i].waiting, false)) waiting.push_back(lanes_[i].spec.lane);
    }
  }
  for (Lane* lane : waiting) lane->notify();
}

void UplinkLog::usage_changed() {
  {
    const MutexLock lock(mutex_);
    trim();
  }
  notify_waiting();  // with the disk full or failed, nobody waits for it
  tell(Track::levels);
}

// Whoever comes while another thread is telling leaves it to that one, which looks
// again after each word. Once a block is told the log may become less full: levels
// are told last.
void UplinkLog::tell(Track track) {
  for (bool mine = false;; mine = true) {
    Word word;
    {
      const MutexLock lock(mutex_);
      bool& telling = telling_[static_cast<std::size_t>(track)];
      if (!mine && telling) return;
      word = next_word(track);
      telling = word.what != Word::What::nothing;
      if (!telling) return;
    }
    say(word);
  }
}

UplinkLog::Word UplinkLog::next_word(Track track) {
  switch (track) {
    case Track::levels: return next_level_word();
    case Track::spooled: return next_spooled_word();
    case Track::forwarded: break;
  }
  return next_forwarded_word();
}

UplinkLog::Word UplinkLog::next_level_word() {
  Word word;
  if (untold_skips_ > 0) {
    word.what = Word::What::skipped;
    word.records = std::exchange(untold_skips_, 0);
  } else if (untold_expiries_ > 0) {
    word.what = Word::What::expired;
    word.records = std::exchange(untold_expiries_, 0);
  } else if (state_ != told_state_) {
    word.what = Word::What::state;
    word.state = told_state_ = state_;
    word.error = error_;
  } else if (level() != told_level_) {
    word.what = Word::What::level;
    word.level = told_level_ = level();
  }
  return word;
}

UplinkLog::Word UplinkLog::next_spooled_word() {
  Word word;
  if (!durable_) return word;
  if (checkpoint_due()) {
    word.what = Word::What::checkpoint;
    word.through = checkpoint_asked_ = told_spooled_;
    checkpoint_asked_at_ = clock_.now();
    bytes_since_checkpoint_ = 0;
    checkpoint_wanted_ = false;
    return word;
  }
  const LogPosition durable = std::min(spool_.durable_through(), last_);
  if (told_spooled_ >= durable) return word;
  word.block = spool_.read({told_spooled_.value + 1});
  if (!word.block || word.block->last_position() > durable) return word;
  word.what = Word::What::block;
  word.stage = AckStage::spooled;
  told_spooled_ = word.block->last_position();
  bytes_since_checkpoint_ += word.block->bytes();
  trim();
  return word;
}

UplinkLog::Word UplinkLog::next_forwarded_word() {
  Word word;
  if (!required_) return word;
  const LogPosition through = tellable_through();
  if (told_forwarded_ >= through) return word;
  word.block = spool_.read({told_forwarded_.value + 1});
  if (!word.block || word.block->last_position() > through) return word;
  word.what = Word::What::block;
  word.stage = AckStage::forwarded;
  told_forwarded_ = word.block->last_position();
  trim();
  return word;
}

// One at a time; and there must be something new.
bool UplinkLog::checkpoint_due() const {
  if (told_spooled_ <= checkpoint_asked_ || state_ == SpoolState::failed) return false;
  if (checkpoint_wanted_) return true;
  if (spool_.checkpoint() < checkpoint_asked_) return false;
  const std::uint64_t bytes_max = std::min(k_checkpoint_bytes_max, spool_.usage().bytes_max / 8);
  return bytes_since_checkpoint_ > bytes_max || clock_.now() - checkpoint_asked_at_ >= timing_.checkpoint_every;
}

void UplinkLog::say(const Word& word) {
  switch (word.what) {
    case Word::What::nothing: break;
    case Word::What::skipped: log_.warn("uplink_records_skipped", {{"records", word.records}}); break;
    case Word::What::expired: log_.warn("uplink_records_expired", {{"records", word.records}}); break;
    case Word::What::state: say_state(word); break;
    case Word::What::level: say_level(word.level); break;
    case Word::What::block:
      if (word.stage == AckStage::spooled) ledger_.apply(*word.block);
      say_block(word.stage, word.block);
      break;
    case Word::What::checkpoint: {
      StreamLedger::Changes changes = ledger_.take_changes();
      spool_.save_devices(std::move(changes.changed), std::move(changes.gone), word.through);
      break;
    }
  }
}

void UplinkLog::say_state(const Word& word) {
  switch (word.state) {
    case SpoolState::ok: log_.info("uplink_spool_ok"); break;
    case SpoolState::full:
      log_.error("uplink_spool_full",
                 {{"error", word.error}, {"hint", "nothing is acknowledged as spooled until there is room"}});
      break;
    case SpoolState::failed:
      log_.error("uplink_spool_failed",
                 {{"error", word.error}, {"hint", "nothing is acknowledged as spooled, nor taken, until a restart"}});
      break;
  }
}

void UplinkLog::say_level(UplinkLevel level) {
  if (level == UplinkLevel::normal) {
    log_.info("uplink_level", {{"level", to_string(level)}});
  } else {
    log_.warn("uplink_level", {{"level", to_string(level)}});
  }
  for (StageSink* sink : sinks_) {
    if (sink != nullptr) sink->level_changed(level);
  }
}

void UplinkLog::say_block(AckStage stage, const RecordBlockPtr& block) {
  if (sinks_.empty()) return;
  // An earlier process may have had more shards.
  StageSink* sink = sinks_[block->shard() < sinks_.size() ? block->shard() : 0];
  if (sink != nullptr) sink->staged(stage, block);
}

}  // namespace fieldgate::uplink
