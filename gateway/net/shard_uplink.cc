// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/shard.h"

#include <algorithm>
#include <utility>

// What the shard puts into the log, and what it tells devices of it: Acks and credit.
namespace fieldgate::net {
namespace {

using std::chrono::milliseconds;

// Credit is given back to all over this many steps: about two seconds.
constexpr milliseconds k_give_back_step{50};
constexpr std::size_t k_give_back_steps = 40;
constexpr std::size_t k_acks_per_step = 16;

}  // namespace

// --- uplink

void Shard::ingest(const RecordView& record) {
  if (ingress_.add(record)) {
    flush();
  } else {
    schedule_flush();
  }
}

void Shard::schedule_flush() {
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  post([this] {
    flush_scheduled_ = false;
    flush();
  });
}

void Shard::flush() {
  Ingress::Flushed flushed = ingress_.flush();
  if (flushed.refused) block_refused(*flushed.refused);
  if (flushed.taken) {
    for (std::size_t i = 0; i < flushed.taken->size(); ++i) {
      probe_.records[static_cast<std::size_t>((*flushed.taken)[i].kind)].add();
    }
  }
  probe_.records[static_cast<std::size_t>(RecordKind::presence)].add(flushed.presence);
  if (flushed.taken && accepted_sessions_ > 0) {
    post([this, block = std::move(flushed.taken)] { block_staged(AckStage::accepted, block); });
  }
  if (!changed_.empty()) env_.fleet.changed(std::exchange(changed_, {}));
}

void Shard::staged(AckStage stage, RecordBlockPtr block) {
  post([this, stage, block = std::move(block)] { block_staged(stage, block); });
}

void Shard::block_staged(AckStage stage, const RecordBlockPtr& block) {
  assert_current();
  const std::int64_t now = env_.clock.unix_ms();
  std::vector<std::vector<std::uint32_t>> late;  // places in the block, by home shard
  for (std::size_t i = 0; i < block->size(); ++i) {
    const RecordView record = (*block)[i];
    if (record.stream.value == 0) continue;  // presence: nobody waits for it
    // By the connection, not by its epoch: one that has gone on in a new epoch is owed its credit all the same.
    DeviceSession* session = find(record.session);
    if (session == nullptr || !session->live()) {
      // At ACCEPTED nothing is late: a state goes home with that mark.
      if (stage == AckStage::accepted) continue;
      if (late.empty()) late.resize(shards_.size());
      late[home_shard(record.device, shards_.size())].push_back(static_cast<std::uint32_t>(i));
      continue;
    }
    session->mark(stage, record.seq);
    if (session->stage() != stage) continue;
    probe_.ack_time.observe(static_cast<std::uint64_t>(std::max<std::int64_t>(0, now - record.received_unix_ms)) *
                            1'000);
    with_session(record.session, [&](DeviceSession& s) { s.staged(record); });
  }
  for (std::size_t home = 0; home < late.size(); ++home) {
    if (late[home].empty()) continue;
    shards_[home]->post([shard = shards_[home], stage, block, places = std::move(late[home])] {
      shard->late_staged(stage, *block, places);
    });
  }
}

// The log is full although credit was withheld: these records were never
// received. Their sessions end; the devices still hold them.
void Shard::block_refused(const RecordBlock& block) {
  probe_.records_refused.add(block.size());
  for (std::size_t i = 0; i < block.size(); ++i) {
    const RecordView record = block[i];
    DeviceSession* session = find(record.session);
    if (session == nullptr) continue;
    session->refused_by_log(record);
    // Later, for this may run inside another session's step.
    post([this, ref = record.session] { with_session(ref, [](DeviceSession& s) { s.end(EndReason::overloaded); }); });
  }
}

// Credit is taken back at once, and given back to some sessions at a time: what
// the whole fleet has kept meanwhile, sent at one moment, would fill the log anew.
void Shard::level_changed(UplinkLevel level) {
  post([this, level] {
    if (level == level_) return;
    const bool less = level > level_;
    level_ = level;
    if (less) sweep(0, [](DeviceSession& session) { session.take_credit(); });
    give_back_left_ = slots_.size();
    if (!give_back_armed_) give_back_step();
  });
}

// Goes on where the last pass ended, so that nobody is always the last.
void Shard::give_back_step() {
  give_back_armed_ = false;
  std::size_t share = (slots_.size() + k_give_back_steps - 1) / k_give_back_steps;
  for (; share > 0 && give_back_left_ > 0; --share, --give_back_left_) {
    if (give_back_slot_ >= slots_.size()) give_back_slot_ = 0;
    const Slot& slot = slots_[give_back_slot_++];
    if (slot.session) with_session(slot.session->ref(), [](DeviceSession& session) { session.give_credit(); });
  }
  if (give_back_left_ == 0 || stopping_) return;
  give_back_armed_ = true;
  credit_timer_.expires_after(k_give_back_step);
  credit_timer_.async_wait([this](error_code ec) {
    if (!ec) give_back_step();
  });
}

// --- acknowledgements

void Shard::ack_later(SessionRef ref) {
  acks_.add(ref, now_ms(), static_cast<std::uint32_t>(config_->session.ack_every.count()));
  if (!ack_timer_armed_) arm_ack_timer();
}

void Shard::arm_ack_timer() {
  if (stopping_ || acks_.empty()) return;
  ack_timer_armed_ = true;
  ack_timer_.expires_after(milliseconds(acks_.wait_ms(now_ms())));
  ack_timer_.async_wait([this](error_code ec) {
    if (ec) return;
    acks_.begin(now_ms());
    send_acks();
  });
}

// Also of one round hundreds may be due, at full speed: who is ready meanwhile is served between.
void Shard::send_acks() {
  struct Step {
    Shard& shard;
    bool goes_on = false;
    ~Step() {  // also when a session throws twice
      if (goes_on) return;
      shard.ack_timer_armed_ = false;
      shard.arm_ack_timer();
    }
  };
  Step step{*this};
  for (std::size_t left = k_acks_per_step; left > 0; --left) {
    const auto ref = acks_.take();
    if (!ref) return;
    with_session(*ref, [](DeviceSession& session) { session.ack_due(); });
  }
  post([this] { send_acks(); });
  step.goes_on = true;
}

}  // namespace fieldgate::net
