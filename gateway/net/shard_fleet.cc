// SPDX-License-Identifier: Apache-2.0
//
// The part of Shard that hears what other nodes of the fleet do to its devices: see Owners.
#include "gateway/core/lane_filter.h"
#include "gateway/net/device_view.h"
#include "gateway/net/shard.h"
#include "gateway/ports/wire.h"

#include <algorithm>
#include <utility>

namespace fieldgate::net {

void Shard::superseded(const std::vector<Standing>& by, const std::string& node) {
  assert_current();
  for (const Standing& other : by) {
    const auto owner = ownership_.superseded(other.device, other.epoch);
    if (!owner) continue;
    Shard* shard = shards_[owner->to.shard];
    shard->post([shard, ref = owner->to.ref, epoch = owner->epoch, node] {
      shard->with_session(ref, [&](DeviceSession& session) { session.fenced(epoch, node); });
    });
  }
}

void Shard::end_connection(const Standing& connection, EndReason reason) {
  assert_current();
  const auto found = ownership_.find(connection.device);
  if (!found || found->epoch != connection.epoch) return;
  if (found->held) return ownership_.say_end(connection.device);
  if (!found->owner) return;
  Shard* shard = shards_[found->owner->shard];
  shard->post([shard, to = found->owner->ref, epoch = connection.epoch, reason] {
    shard->with_session(to, [&](DeviceSession& session) {
      if (session.live() && session.epoch() == epoch) session.end(reason);
    });
  });
}

// --- a new epoch for a connection that goes on
//
// From the home shard to the session's, which asks admission, takes the epoch and sends word
// home: what it says after that carries the new epoch, and comes home behind that word.

void Shard::renew(const Standing& lost, const std::function<void(Standing)>& failed) {
  assert_current();
  const auto found = ownership_.find(lost.device);
  if (!found || !found->owner || found->epoch != lost.epoch) return;
  Shard* shard = shards_[found->owner->shard];
  shard->post([shard, ref = found->owner->ref, lost, failed] { shard->ask_again(ref, lost, failed); });
}

void Shard::ask_again(SessionRef ref, const Standing& lost, const std::function<void(Standing)>& failed) {
  assert_current();
  const DeviceSession* session = find(ref);
  if (session == nullptr || !session->live() || session->epoch() != lost.epoch) return;
  env_.admission.renew(lost.device, lost.epoch, [this, ref, lost, failed](AdmissionOutcome outcome) {
    post([this, ref, lost, failed, outcome = std::move(outcome)] {
      const auto* refused = std::get_if<EndReason>(&outcome);
      if (refused != nullptr && *refused == EndReason::no_epoch) return failed(lost);
      with_session(ref, [&](DeviceSession& s) {
        if (!s.live() || s.epoch() != lost.epoch) return;
        refused != nullptr ? s.end(*refused) : s.renew(std::get<Admitted>(outcome).epoch);
      });
    });
  });
}

void Shard::renewed(DeviceState& state, Epoch lost, Epoch fresh) {
  state.since_unix_ms = env_.clock.unix_ms();
  Shard& home = home_of(state.id);
  home.post([&home, lost, lanes = state.lanes, now = summary_of(state, true, fresh, std::nullopt)]() mutable {
    home.assert_current();
    if (home.ownership_.renewed(now.id, lost, now.epoch)) home.say(std::move(now), lanes);
  });
}

// --- questions

void Shard::list(std::uint32_t from_slot, const std::function<void(std::vector<DeviceSummary>)>& some) {
  assert_current();
  const auto end = std::min<std::size_t>(slots_.size(), std::size_t{from_slot} + k_sweep_slots);
  std::vector<DeviceSummary> live;
  for (std::size_t i = from_slot; i < end; ++i) {
    const DeviceSession* session = slots_[i].session.get();
    if (session == nullptr || !session->live()) continue;
    live.push_back(summary_of(*session->state(), true, session->epoch(), std::nullopt));
  }
  if (!live.empty()) some(std::move(live));
  if (end < slots_.size()) post([this, end, some] { list(static_cast<std::uint32_t>(end), some); });
}

void Shard::compare(const std::vector<Standing>& believed,
                    const std::function<void(std::vector<DeviceSummary>)>& otherwise) {
  assert_current();
  std::vector<DeviceSummary> ended;
  for (const Standing& one : believed) {
    const auto found = ownership_.find(one.device);
    if (found && found->owner) continue;  // in that epoch, or list() tells of a newer one
    if (found && found->held) continue;   // it counts as online until something is said
    if (found && found->parked != nullptr && found->epoch >= one.epoch) {
      ended.push_back(summary_of(*found->parked, false, found->epoch, found->last_end.value_or(EndReason::node_lost)));
      continue;
    }
    DeviceSummary forgotten{one.device};
    forgotten.epoch = one.epoch;
    forgotten.since_unix_ms = env_.clock.unix_ms();
    forgotten.reason = to_string(EndReason::node_lost);
    ended.push_back(std::move(forgotten));
  }
  if (!ended.empty()) otherwise(std::move(ended));
}

void Shard::tell_lost(const std::vector<LostConnection>& lost) {
  assert_current();
  for (const LostConnection& one : lost) {
    const auto found = ownership_.find(one.device);
    if (found && (found->owner || (found->held && found->epoch > one.epoch))) continue;
    const std::string_view why = to_string(EndReason::node_lost);
    env_.wire.encoder().presence({false, one.epoch, one.node, one.boot_id, one.unix_ms, why}, frame_scratch_);
    RecordView record;
    record.kind = RecordKind::presence;
    record.device = one.device.str();
    record.name = "offline";
    record.epoch = one.epoch;
    record.received_unix_ms = env_.clock.unix_ms();
    record.payload = std::as_bytes(std::span(frame_scratch_));
    record.lanes = env_.filters ? env_.filters->match(one.device, one.labels) : k_every_lane;
    ingress_.add_presence(record);
  }
  schedule_flush();
}

}  // namespace fieldgate::net
