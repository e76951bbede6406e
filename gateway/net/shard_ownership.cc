// SPDX-License-Identifier: Apache-2.0
//
// The part of Shard that is home to device ids: admission, claims, takeovers, presence.
#include "gateway/core/lane_filter.h"
#include "gateway/net/device_view.h"
#include "gateway/net/shard.h"
#include "gateway/ports/log.h"
#include "gateway/ports/presence_view.h"

#include <algorithm>
#include <utility>

namespace fieldgate::net {
namespace {

constexpr std::chrono::milliseconds k_claim_check{100};
constexpr std::size_t k_ends_per_step = 256;

}  // namespace

Shard& Shard::home_of(const DeviceId& id) noexcept { return *shards_[home_shard(id.str(), shards_.size())]; }

// --- from this shard's sessions to a home shard

void Shard::claim(const DeviceId& id, SessionRef from, DeviceProfile profile, std::string peer) {
  Shard& home = home_of(id);
  Claim wish{{index_, from}, std::move(profile), {}, std::move(peer)};
  home.post([&home, id, wish = std::move(wish)]() mutable { home.apply(id, std::move(wish)); });
}

void Shard::apply(const DeviceId& id, Claim wish) {
  assert_current();
  const SessionAddress from = wish.from;
  // No room to say that it is online.
  if (ingress_.presence() >= config_->presence_backlog_max) return refuse(from, EndReason::overloaded);
  const auto at = applicants_.try_emplace(from, Applicant{id, std::move(wish)}).first;
  env_.admission.admit(id, at->second.wish.profile, [this, from](AdmissionOutcome outcome) {
    post([this, from, outcome = std::move(outcome)]() mutable { admitted(from, std::move(outcome)); });
  });
}

void Shard::admitted(SessionAddress from, AdmissionOutcome outcome) {
  assert_current();
  auto applicant = applicants_.extract(from);
  if (applicant.empty()) return;  // it has gone meanwhile
  if (const auto* refused = std::get_if<EndReason>(&outcome)) return refuse(from, *refused);
  auto& [id, wish] = applicant.mapped();
  const Admitted& let_in = std::get<Admitted>(outcome);
  wish.epoch = let_in.epoch;
  if (!let_in.labels.empty()) wish.profile.labels = overlaid(wish.profile.labels, let_in.labels);
  ownership_.claim(id, std::move(wish), env_.clock.now());
  arm_claim_timer();
}

void Shard::abandon(const DeviceId& id, SessionRef from) {
  Shard& home = home_of(id);
  home.post([&home, id, address = SessionAddress{index_, from}] {
    home.applicants_.erase(address);
    home.ownership_.abandon(id, address);
  });
}

void Shard::release(std::unique_ptr<DeviceState> state, Epoch epoch, EndReason reason) {
  Shard& home = home_of(state->id);
  const ConnectionEnd end{reason, env_.clock.now(), env_.clock.unix_ms()};
  env_.leaving.fetch_add(1, std::memory_order_relaxed);
  home.post([&home, state = std::move(state), epoch, end]() mutable {
    home.assert_current();
    home.ownership_.release(epoch, std::move(state), end);
    home.probe_.ends_held.set(home.ownership_.held());
    home.env_.leaving.fetch_sub(1, std::memory_order_release);
  });
}

void Shard::arm_claim_timer() {
  if (claim_timer_armed_ || stopping_) return;
  claim_timer_armed_ = true;
  claim_timer_.expires_after(k_claim_check);
  claim_timer_.async_wait([this](error_code ec) {
    claim_timer_armed_ = false;
    if (!ec && ownership_.expire(env_.clock.now())) arm_claim_timer();
  });
}

// --- OwnershipActions

void Shard::grant(SessionAddress to, std::unique_ptr<DeviceState> state, Epoch epoch) {
  Shard* shard = shards_[to.shard];
  shard->post([shard, ref = to.ref, state = std::move(state), epoch]() mutable {
    if (shard->find(ref) == nullptr) {
      // It went while the claim was on its way.
      shard->release(std::move(state), epoch, EndReason::connection_reset);
      return;
    }
    shard->with_session(ref, [&](DeviceSession& session) { session.granted(std::move(state), epoch); });
  });
}

void Shard::refuse(SessionAddress to, EndReason reason) {
  Shard* shard = shards_[to.shard];
  shard->post([shard, ref = to.ref, reason] {
    shard->with_session(ref, [reason](DeviceSession& session) { session.end(reason); });
  });
}

void Shard::fence(SessionAddress owner, Epoch epoch, const Claim& by) {
  Shard* shard = shards_[owner.shard];
  shard->post([shard, ref = owner.ref, epoch, peer = by.peer] {
    shard->with_session(ref, [&](DeviceSession& session) { session.fenced(epoch, peer); });
  });
}

void Shard::presence(DeviceState& state, bool online, Epoch epoch, EndReason reason) {
  if (online) {
    state.since_unix_ms = state.last_seen_unix_ms = env_.clock.unix_ms();
    state.lanes = env_.filters ? env_.filters->match(state.id, state.profile.labels) : k_every_lane;
  }
  say(summary_of(state, online, epoch, reason), state.lanes);
}

void Shard::hold_ended(const DeviceState& state, Epoch epoch, HoldEnd how) {
  probe_.ends_held.set(ownership_.held());
  probe_.hold_ends[static_cast<std::size_t>(how)].add();
  if (how != HoldEnd::elsewhere) return;
  // For this process alone, and without a reason: the fleet has heard from the other node. Into
  // the log, too, past every lane: or the next process would believe that it was still here.
  DeviceSummary device = summary_of(state, false, epoch, std::nullopt);
  log_presence(device, 0);
  changed_.push_back(std::move(device));
  schedule_flush();
}

void Shard::log_presence(const DeviceSummary& device, LaneSet lanes) {
  env_.wire.encoder().presence(
      {device.online, device.epoch, config_->node, config_->boot_id, device.since_unix_ms, device.reason},
      frame_scratch_);
  RecordView record;
  record.kind = RecordKind::presence;
  record.device = device.id.str();
  record.name = device.online ? "online" : "offline";
  record.epoch = device.epoch;
  record.received_unix_ms = env_.clock.unix_ms();  // `since` may be a while ago
  record.payload = std::as_bytes(std::span(frame_scratch_));
  record.lanes = lanes;
  ingress_.add_presence(record);
}

void Shard::say(DeviceSummary device, LaneSet lanes) {
  log_presence(device, lanes);
  for (PresenceView* view : env_.presence_views) {
    view->publish(device.id, {device.online, device.epoch, device.since_unix_ms, device.reason});
  }
  changed_.push_back(std::move(device));
  schedule_flush();
}

// --- what reaches a stage late

void Shard::late_staged(AckStage stage, const RecordBlock& block, const std::vector<std::uint32_t>& places) {
  assert_current();
  std::vector<std::vector<LateMark>> marks(shards_.size());  // by the owner's shard
  for (const std::uint32_t place : places) {
    const RecordView record = block[place];
    const auto owner = ownership_.staged(record.device, record.stream, stage, record.seq);
    if (!owner) continue;
    auto& to = marks[owner->shard];
    // What comes in a row of one stream is one mark.
    if (!to.empty() && to.back().to == owner->ref && to.back().stream == record.stream) to.pop_back();
    to.push_back({owner->ref, record.stream, record.seq});
  }
  for (std::size_t i = 0; i < marks.size(); ++i) {
    if (marks[i].empty()) continue;
    shards_[i]->post([shard = shards_[i], stage, passed = std::move(marks[i])] {
      for (const LateMark& mark : passed) {
        shard->with_session(mark.to, [&](DeviceSession& s) { s.staged_late(stage, mark.stream, mark.seq); });
      }
    });
  }
}

// --- what an earlier process left

void Shard::restore(std::vector<RestoredDevice> devices) {
  // Those that were online have been offline for the shortest time.
  std::ranges::sort(devices, {}, [](const RestoredDevice& d) { return std::pair(d.was_online, d.since_unix_ms); });
  const std::int64_t now = env_.clock.unix_ms();
  for (RestoredDevice& device : devices) {
    auto state = std::make_unique<DeviceState>(device.id, config_->session.last_values_bytes_max);
    state->streams = device.streams;
    state->lanes = device.presence_lanes;
    state->since_unix_ms = device.was_online ? now : device.since_unix_ms;
    state->last_data_unix_ms = device.last_data_unix_ms;
    // What the log shows of it; it may have been heard later.
    state->last_seen_unix_ms = std::max(device.last_data_unix_ms, device.was_online ? device.since_unix_ms : 0);
    changed_.push_back(summary_of(*state, false, device.epoch,
                                  device.was_online ? std::optional(EndReason::node_lost) : std::nullopt));
    ownership_.restore(std::move(state), device.epoch, device.was_online);
    if (device.was_online) ++ends_untold_;
  }
  schedule_flush();
  if (ends_untold_ > 0) {
    telling_ends_ = true;
    post([this] { tell_ends(); });
  }
}

// A whole fleet's ends must not fill the log, nor stand before what devices send:
// step by step while there is room, slowly while that is scarce, and none while
// there is hardly any or the log has not yet taken the last ones.
void Shard::tell_ends() {
  telling_ends_ = false;
  const UplinkLevel level = env_.uplink.level();
  if (stopping_ || level == UplinkLevel::withheld || ingress_.presence() > 0) return;
  ends_untold_ = ownership_.tell_ends(k_ends_per_step);
  flush();
  if (ends_untold_ == 0 || level != UplinkLevel::normal) return;  // the next tick goes on
  telling_ends_ = true;
  post([this] { tell_ends(); });
}

}  // namespace fieldgate::net
