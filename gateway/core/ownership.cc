// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/ownership.h"

#include <algorithm>
#include <utility>

namespace fieldgate {

Ownership::Ownership(OwnershipLimits limits, OwnershipActions& actions, MakeState make_state)
    : limits_(limits), actions_(actions), make_state_(std::move(make_state)) {}

std::uint32_t Ownership::ms(TimePoint now) const {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
}

void Ownership::claim(const DeviceId& id, Claim claim, TimePoint now) {
  const double rate = limits_.takeovers_per_minute / 60.0;
  const double burst = limits_.takeovers_per_minute + 1.0;  // the connects between them, too
  auto found = entries_.find(id);
  if (found == entries_.end()) {
    make_room();
    found = entries_.try_emplace(id, make_state_(id), Epoch{}, TokenBucket(ms(now), burst)).first;
  }
  Entry& entry = found->second;
  if (claim.epoch <= std::max(entry.waiting ? entry.waiting->claim.epoch : entry.epoch, entry.elsewhere)) {
    actions_.refuse(claim.from, EndReason::taken_over);
    return;
  }
  const double cost = entry.owner ? 1.0 : 1.0 / OwnershipLimits::k_returns_per_takeover;
  if (!entry.takeovers.take(ms(now), cost, rate, burst)) {
    actions_.refuse(claim.from, EndReason::takeover_rate);
    return;
  }
  if (!entry.owner) {
    hand_over(entry, std::move(claim));
    return;
  }
  if (entry.waiting) {
    actions_.refuse(entry.waiting->claim.from, EndReason::taken_over);
    *entry.waiting = {std::move(claim), now};
    return;
  }
  entry.waiting = std::make_unique<Waiting>(Waiting{std::move(claim), now});
  waiting_ids_.push_back(id);
  actions_.fence(*entry.owner, entry.epoch, entry.waiting->claim);
}

void Ownership::abandon(const DeviceId& id, SessionAddress from) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (entry.waiting && entry.waiting->claim.from == from) entry.waiting.reset();
}

void Ownership::turn_away(const DeviceId& id, EndReason reason) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  if (const auto waiting = std::move(found->second.waiting)) actions_.refuse(waiting->claim.from, reason);
}

std::optional<Ownership::Fenced> Ownership::superseded(const DeviceId& id, Epoch by) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = found->second;
  entry.elsewhere = std::max(entry.elsewhere, by);
  if (entry.waiting && entry.waiting->claim.epoch < by) turn_away(id, EndReason::taken_over);
  if (entry.epoch < by) end_hold(entry, HoldEnd::elsewhere);
  if (!entry.owner || entry.epoch >= by) return std::nullopt;
  return Fenced{*entry.owner, entry.epoch};
}

bool Ownership::renewed(const DeviceId& id, Epoch lost, Epoch fresh) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || !found->second.owner || found->second.epoch != lost || fresh <= lost) return false;
  found->second.epoch = fresh;
  turn_away(id, EndReason::takeover_timeout);
  return true;
}

void Ownership::release(Epoch epoch, std::unique_ptr<DeviceState> state, const ConnectionEnd& end) {
  const auto found = entries_.find(state->id);
  if (found == entries_.end() || !found->second.owner || found->second.epoch != epoch) return;
  Entry& entry = found->second;
  entry.owner.reset();
  entry.last_end = end.reason;
  if (const auto late = std::move(entry.late)) {
    for (const LateMark& mark : *late) {
      StreamMarks* marks = state->streams.find(mark.stream);
      if (marks == nullptr) continue;
      marks->raise(AckStage::spooled, mark.spooled);
      marks->raise(AckStage::forwarded, mark.forwarded);
    }
  }
  entry.parked = std::move(state);
  if (is_to_return(end.reason)) {
    hold(entry, end);
    if (entry.elsewhere > epoch) end_hold(entry, HoldEnd::elsewhere);
  } else {
    entry.parked->since_unix_ms = end.unix_ms;
    actions_.presence(*entry.parked, false, epoch, end.reason);
  }
  if (entry.waiting) {
    const auto waiting = std::move(entry.waiting);
    hand_over(entry, std::move(waiting->claim));
    return;
  }
  offline_.emplace_back(entry.parked->id, epoch);
  if (offline_.size() > 2 * entries_.size() + 16) {
    std::erase_if(offline_, [this](const auto& item) {
      const auto it = entries_.find(item.first);
      return it == entries_.end() || it->second.owner || it->second.epoch != item.second;
    });
  }
}

void Ownership::hand_over(Entry& entry, Claim claim) {
  if (!end_hold(entry, HoldEnd::returned)) tell_end(entry);
  entry.owner = claim.from;
  entry.epoch = claim.epoch;
  entry.parked->profile = std::move(claim.profile);
  actions_.presence(*entry.parked, true, claim.epoch, EndReason::bye);
  actions_.grant(claim.from, std::move(entry.parked), claim.epoch);
}

std::optional<SessionAddress> Ownership::staged(std::string_view id, StreamId stream, AckStage stage, Seq seq) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = found->second;
  if (entry.parked) {
    if (StreamMarks* marks = entry.parked->streams.find(stream)) marks->raise(stage, seq);
    return std::nullopt;
  }
  if (!entry.late) entry.late = std::make_unique<LateMarks>();
  auto& [latest, other] = *entry.late;
  if (latest.stream != stream) std::swap(latest, other);
  if (latest.stream != stream) latest = {stream, {}, {}};
  Seq& mark = stage == AckStage::spooled ? latest.spooled : latest.forwarded;
  mark = std::max(mark, seq);
  return entry.owner;
}

// --- what an earlier process left

void Ownership::restore(std::unique_ptr<DeviceState> state, Epoch epoch, bool end_untold) {
  make_room();
  const DeviceId id = state->id;
  const auto [at, fresh] =
      entries_.try_emplace(id, std::move(state), epoch, TokenBucket(0, limits_.takeovers_per_minute));
  if (!fresh) return;
  offline_.emplace_back(id, epoch);
  if (!end_untold) return;
  at->second.end_untold = true;
  at->second.last_end = EndReason::node_lost;
  untold_.push_back(id);
}

std::size_t Ownership::tell_ends(std::size_t count) {
  for (; count > 0 && !untold_.empty(); --count) {
    const auto found = entries_.find(untold_.back());
    untold_.pop_back();
    if (found != entries_.end()) tell_end(found->second);
  }
  if (untold_.empty()) untold_ = {};  // gives its memory back
  return untold_.size();
}

void Ownership::tell_end(Entry& entry) {
  if (!std::exchange(entry.end_untold, false)) return;
  actions_.presence(*entry.parked, false, entry.epoch, EndReason::node_lost);
}

// --- ends that are held

bool Ownership::is_to_return(EndReason reason) const noexcept {
  return holding_ && (reason == EndReason::age_max || (reason == EndReason::drain && limits_.peers));
}

// Until then state.since_unix_ms stays what it was: since when the device counts as online.
void Ownership::hold(Entry& entry, const ConnectionEnd& end) {
  entry.held = true;
  entry.ended_unix_ms = end.unix_ms;
  ++held_;
  holds_.push_back({entry.parked->id, entry.epoch, end.at + limits_.return_patience});
}

bool Ownership::end_hold(Entry& entry, HoldEnd how) {
  if (!std::exchange(entry.held, false)) return false;
  --held_;
  entry.parked->since_unix_ms = entry.ended_unix_ms;
  actions_.hold_ended(*entry.parked, entry.epoch, how);
  if (how == HoldEnd::said) actions_.presence(*entry.parked, false, entry.epoch, *entry.last_end);
  return true;
}

void Ownership::say_overdue(TimePoint now) {
  while (!holds_.empty() && holds_.front().until <= now) {
    const Hold hold = std::move(holds_.front());
    holds_.pop_front();
    const auto found = entries_.find(hold.device);
    if (found != entries_.end() && found->second.epoch == hold.epoch) end_hold(found->second, HoldEnd::said);
  }
}

void Ownership::say_end(const DeviceId& id) {
  const auto found = entries_.find(id);
  if (found != entries_.end()) end_hold(found->second, HoldEnd::said);
}

void Ownership::hold_no_more() {
  holding_ = false;
  say_overdue(TimePoint::max());
}

bool Ownership::expire(TimePoint now) {
  std::erase_if(waiting_ids_, [&](const DeviceId& id) {
    const auto found = entries_.find(id);
    if (found == entries_.end() || !found->second.waiting) return true;
    Entry& entry = found->second;
    if (now - entry.waiting->since < limits_.fence_patience) return false;
    actions_.refuse(entry.waiting->claim.from, EndReason::takeover_timeout);
    entry.waiting.reset();
    return true;
  });
  return !waiting_ids_.empty();
}

std::optional<Ownership::Lookup> Ownership::find(const DeviceId& id) const {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = found->second;
  return Lookup{entry.parked.get(), entry.owner, entry.epoch, entry.last_end, entry.held};
}

void Ownership::make_room() {
  while (entries_.size() >= limits_.devices_max && !offline_.empty()) {
    const auto [id, epoch] = std::move(offline_.front());
    offline_.pop_front();
    const auto found = entries_.find(id);
    if (found == entries_.end() || found->second.owner || found->second.epoch != epoch) continue;
    if (!end_hold(found->second, HoldEnd::said)) tell_end(found->second);
    entries_.erase(found);
  }
}

}  // namespace fieldgate
