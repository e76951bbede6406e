// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/journal_lane.h"

#include <algorithm>
#include <future>
#include <utility>

namespace fieldgate::control {

using std::chrono::milliseconds;

namespace {

// Of what it passes over in silence there are thousands a second: it looks no more often.
constexpr milliseconds k_pace{10};
constexpr milliseconds k_damage_pause{5'000};
constexpr milliseconds k_full_pause{100};  // where the worker takes no more, or the store not now

bool is_for_the_store(RecordKind kind) noexcept {
  return kind == RecordKind::presence || kind == RecordKind::command_reply || kind == RecordKind::state;
}

}  // namespace

JournalLane::JournalLane(StoreWorker& worker, const RecordReader& reader, DeadLetterStore& dead_letters,
                         const Clock& clock, Log& log)
    : worker_(worker), reader_(reader), dead_letters_(dead_letters), clock_(clock), log_(log) {
  status_.name = name_;
  status_.type = "store";
  status_.required = false;
  status_.since_unix_ms = clock_.unix_ms();
  worker_.on_available([this] { pump(); });
}

void JournalLane::add(JournalSink& sink) { sinks_.push_back(&sink); }

// --- Lane

void JournalLane::start(LaneFeed& feed) {
  worker_.post([this, &feed] {
    feed_ = &feed;
    next_ = feed.start();
    set_state(LaneState::running);
    pump();
  });
}

void JournalLane::notify() noexcept {
  if (notified_.exchange(true, std::memory_order_acq_rel)) return;
  worker_.post([this] {
    const auto due = pumped_ + k_pace;
    const auto now = clock_.now();
    if (now >= due) return pump();
    worker_.after(std::chrono::ceil<milliseconds>(due - now), [this] { pump(); });
  });
}

void JournalLane::hold(bool held) noexcept {
  worker_.post([this, held] {
    held_ = held;
    pump();
  });
}

LaneStatus JournalLane::status() const {
  const StoreStatus store = worker_.status();
  const MutexLock lock(mutex_);
  LaneStatus status = status_;
  status.destination = store.description;
  if (!store.last_error.empty() && (status.last_error.empty() || !store.available))
    status.last_error = store.last_error;
  if (!store.available && status.state == LaneState::running) {
    status.state = LaneState::backing_off;
    status.since_unix_ms = std::max(status.since_unix_ms, store.since_unix_ms);
  }
  return status;
}

void JournalLane::stop(milliseconds patience) {
  const auto drained = std::make_shared<std::promise<void>>();
  worker_.run_between(
      [this, drained] {
        if (feed_ == nullptr) return drained->set_value();  // never started: there is nothing to wait for
        drained_ = [drained] { drained->set_value(); };
        pump();
      },
      patience);
  drained->get_future().wait_for(patience);
  worker_.run_between(
      [this] {
        drained_ = nullptr;
        feed_ = nullptr;
        set_state(LaneState::stopped);
      },
      milliseconds(0));
}

// --- the store's thread: from the log

void JournalLane::pump() {
  notified_.store(false, std::memory_order_release);
  pumped_ = clock_.now();
  if (feed_ == nullptr || busy_) return;
  if (pumped_ < resume_at_) {
    if (drained_) std::exchange(drained_, nullptr)();
    return;
  }
  if (!wanted_.empty()) return send();
  bool more = !held_;
  for (std::size_t i = 0; more && i < k_blocks_per_turn && wanted_.size() < k_records_max && bytes_ < k_bytes_max;
       ++i) {
    more = read_block();
  }
  if (!wanted_.empty()) return send();
  complete();
  if (more) return static_cast<void>(worker_.post([this] { pump(); }));  // after what others have for the store
  for (JournalSink* sink : sinks_) {
    if (!held_) sink->idle();
  }
  if (drained_) std::exchange(drained_, nullptr)();
}

bool JournalLane::read_block() {
  const RecordBlockPtr block = feed_->read(next_);
  if (!block) return false;
  const LogPosition first = block->first_position();
  if (first > next_) {
    log_.warn("store_lane_missed", {{"records", first.value - next_.value}});
    missed();
  }
  for (std::size_t at = next_ > first ? next_.value - first.value : 0; at < block->size(); ++at) sort(block, at);
  through_ = block->last_position();
  next_ = {through_.value + 1};
  return true;
}

void JournalLane::sort(const RecordBlockPtr& block, std::size_t at) {
  const RecordView view = (*block)[at];
  if (!is_for_the_store(view.kind)) {
    ++outcome_.filtered;
    return;
  }
  switch (feed_->fate(view)) {
    case LaneFeed::Fate::filter: ++outcome_.filtered; return;
    case LaneFeed::Fate::expire: ++outcome_.expired; return;
    case LaneFeed::Fate::send: break;
  }
  auto what = view.kind == RecordKind::presence ? read_presence(view) : read_reply(view);
  if (!what) return bury(view, "malformed", what.error().detail);
  bytes_ += view.payload.size();
  wanted_.push_back({block, at, *std::move(what)});
}

Result<JournalLane::Content> JournalLane::read_presence(const RecordView& view) const {
  auto device = DeviceId::parse(view.device);
  if (!device) return device.error();
  auto read = reader_.presence(view.payload);
  if (!read) return read.error();
  return Content(PresenceEvent{*std::move(device), read->epoch, read->online, std::move(read->node),
                               std::move(read->boot_id), read->unix_ms, std::move(read->reason)});
}

Result<JournalLane::Content> JournalLane::read_reply(const RecordView& view) const {
  auto device = DeviceId::parse(view.device);
  if (!device) return device.error();
  auto reply = reader_.reply(view.payload);
  if (!reply) return reply.error();
  return Content(
      JournalRecord{*std::move(device), view.stream, view.seq, view.epoch, view.received_unix_ms, *std::move(reply)});
}

void JournalLane::bury(const RecordView& view, std::string reason, std::string detail) {
  {
    const MutexLock lock(mutex_);
    status_.last_error = "a record of device " + std::string(view.device) + ": " + detail;
  }
  DeadLetter letter = DeadLetter::of(view);
  letter.lane = name_;
  letter.refused_unix_ms = clock_.unix_ms();
  letter.reason = std::move(reason);
  letter.detail = std::move(detail);
  log_.warn(
      "store_lane_dead_letter",
      {{"device", view.device}, {"kind", to_string(view.kind)}, {"reason", letter.reason}, {"detail", letter.detail}});
  dead_letters_.add(std::move(letter));
  ++outcome_.dead_lettered;
  if (view.kind == RecordKind::presence) missed();
}

void JournalLane::missed() {
  for (JournalSink* sink : sinks_) sink->missed();
}

// --- into the store

void JournalLane::send() {
  const std::size_t count = singly_ ? 1 : wanted_.size() - done_;
  busy_ = worker_.submit([this, count](DeviceStore& store) { return apply(store, count); },
                         [this, count](const Result<void>& outcome) { applied(count, outcome); });
  if (!busy_) pump_later();
}

void JournalLane::pump_later() {
  if (std::exchange(later_, true)) return;
  worker_.after(k_full_pause, [this] {
    later_ = false;
    pump();
  });
}

Result<void> JournalLane::apply(DeviceStore& store, std::size_t count) {
  for (JournalSink* sink : sinks_) sink->begin();
  std::vector<PresenceEvent> events;
  const auto apply_events = [&]() -> Result<void> {
    for (JournalSink* sink : sinks_) {
      if (events.empty()) break;
      if (auto done = sink->apply_presence(store, events); !done) return done;
    }
    events.clear();
    return {};
  };
  for (std::size_t i = done_; i < done_ + count; ++i) {
    const Content& what = wanted_[i].what;
    if (const auto* event = std::get_if<PresenceEvent>(&what)) {
      events.push_back(*event);
      continue;
    }
    if (auto done = apply_events(); !done) return done;
    for (JournalSink* sink : sinks_) {
      if (auto done = sink->apply(store, std::get<JournalRecord>(what)); !done) return done;
    }
  }
  return apply_events();
}

void JournalLane::applied(std::size_t count, const Result<void>& outcome) {
  busy_ = false;
  if (outcome) {
    done_ += count;
    outcome_.forwarded += count;
    set_state(LaneState::running);
    for (JournalSink* sink : sinks_) sink->committed();
  } else if (outcome.error().code == Errc::unavailable) {
    // The worker says when to go on. A farewell does not wait for that.
    if (drained_) std::exchange(drained_, nullptr)();
    return;
  } else if (outcome.error().code == Errc::timed_out) {
    // Another node's transaction was in the way: no record is to blame.
    return pump_later();
  } else if (count > 1) {
    singly_ = true;  // one of them is to blame
  } else if (outcome.error().code == Errc::malformed) {
    return pause(outcome.error());
  } else {
    const Wanted& refused = wanted_[done_];
    bury((*refused.block)[refused.at], "refused_by_store", outcome.error().detail);
    ++done_;
  }
  if (done_ == wanted_.size()) {
    wanted_.clear();
    done_ = 0;
    bytes_ = 0;
    singly_ = false;
    complete();
  }
  pump();
}

// What the store holds cannot be read: no record is to blame, and none is given up for it.
void JournalLane::pause(const Error& error) {
  resume_at_ = clock_.now() + k_damage_pause;
  {
    const MutexLock lock(mutex_);
    status_.last_error = error.detail;
  }
  set_state(LaneState::backing_off);
  log_.error("store_lane_paused", {{"error", error.detail},
                                   {"hint",
                                    "what the store has of this device is damaged: restore the store from a "
                                    "backup (docs/store.md), or delete the device"}});
  if (drained_) return std::exchange(drained_, nullptr)();
  worker_.after(k_damage_pause, [this] { pump(); });
}

// What is done with, in the log's words: whole blocks.
void JournalLane::complete() {
  if (feed_ == nullptr || through_ <= completed_) return;
  completed_ = through_;
  feed_->completed(through_, std::exchange(outcome_, {}));
}

void JournalLane::set_state(LaneState state) {
  const MutexLock lock(mutex_);
  if (status_.state == state) return;
  status_.state = state;
  status_.since_unix_ms = clock_.unix_ms();
}

}  // namespace fieldgate::control
