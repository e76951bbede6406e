// SPDX-License-Identifier: Apache-2.0
//
// The part of Shard that the rest of the process reaches devices through: what they
// are doing, what is sent to them, who is to go, who is watched.
#include "gateway/net/device_view.h"
#include "gateway/net/shard.h"
#include "gateway/ports/live_tap.h"

#include <algorithm>
#include <utility>

namespace fieldgate::net {
namespace {

constexpr std::size_t k_rechecks_per_step = 256;

}  // namespace

void Shard::detail(const DeviceId& id, LiveDevices::Answer answer) {
  assert_current();
  const auto found = ownership_.find(id);
  if (!found) return answer(std::nullopt);
  if (found->parked != nullptr) {
    DeviceDetail detail = detail_of(*found->parked, found->held, found->epoch, found->last_end);
    detail.reconnecting = found->held;
    return answer(std::move(detail));
  }
  if (!found->owner) return answer(std::nullopt);
  Shard* shard = shards_[found->owner->shard];
  shard->post([shard, ref = found->owner->ref, answer = std::move(answer)] {
    DeviceSession* session = shard->find(ref);
    // Just ended: its state is on the way home. The index still knows the device.
    if (session == nullptr || session->state() == nullptr) return answer(std::nullopt);
    session->stamp_seen();
    DeviceDetail detail = detail_of(*session->state(), true, session->epoch(), EndReason::bye);
    session->fill(detail);
    answer(std::move(detail));
  });
}

// A slice per turn: those of a whole shard at once would take the memory of a hundred bytes
// more for each of its devices, and keep it.
void Shard::send_seen(std::size_t from_slot) {
  const std::size_t end = std::min(slots_.size(), from_slot + k_sweep_slots);
  std::vector<SeenUpdate> updates;
  for (std::size_t i = from_slot; i < end; ++i) {
    DeviceSession* session = slots_[i].session.get();
    if (session == nullptr || !session->live()) continue;
    session->stamp_seen();
    const DeviceState& state = *session->state();
    updates.push_back({state.id, session->epoch(), state.last_seen_unix_ms, state.last_data_unix_ms});
  }
  if (!updates.empty()) env_.fleet.seen(std::move(updates));
  if (end < slots_.size()) post([this, end] { send_seen(end); });
}

// --- downward

void Shard::send_down(const DeviceId& id, DownMessage message, Downlink::Answer answer) {
  assert_current();
  const auto found = ownership_.find(id);
  if (!found || !found->owner) {
    count_down(message, Delivery::offline);
    return answer(Delivery::offline, Epoch{});
  }
  // Behind the grant, if that is on its way, and so behind Welcome.
  Shard* shard = shards_[found->owner->shard];
  shard->post([shard, to = found->owner->ref, message = std::move(message), answer = std::move(answer)] {
    shard->hand_down(to, message, answer);
  });
}

void Shard::hand_down(SessionRef to, const DownMessage& message, const Downlink::Answer& answer) {
  assert_current();
  Delivery outcome = Delivery::offline;
  Epoch epoch;
  with_session(to, [&](DeviceSession& session) {
    if (!session.live()) return;
    epoch = session.epoch();
    outcome = session.deliver(message);
  });
  // What broke off as this was written has not got it.
  const DeviceSession* session = find(to);
  if (outcome == Delivery::sent && (session == nullptr || !session->live())) outcome = Delivery::offline;
  count_down(message, outcome);
  answer(outcome, outcome == Delivery::offline ? Epoch{} : epoch);
}

void Shard::count_down(const DownMessage& message, Delivery outcome) {
  probe_.down[message.index()][static_cast<std::size_t>(outcome)].add();
}

void Shard::close_device(const DeviceId& id, EndReason reason, const std::function<void(bool)>& answer) {
  assert_current();
  // Let in before the registry changed. After a kick it may well come.
  if (reason != EndReason::kicked) ownership_.turn_away(id, reason);
  ownership_.say_end(id);
  const auto found = ownership_.find(id);
  if (!found || !found->owner) return answer(false);
  Shard* shard = shards_[found->owner->shard];
  shard->post([shard, to = found->owner->ref, reason, answer] {
    bool was_there = false;
    shard->with_session(to, [&](DeviceSession& session) {
      was_there = session.live();
      if (was_there) session.end(reason);
    });
    answer(was_there);
  });
}

void Shard::recheck(std::shared_ptr<const std::vector<DeviceId>> devices, std::size_t from) {
  assert_current();
  const std::size_t end = std::min(devices->size(), from + k_rechecks_per_step);
  for (std::size_t i = from; i < end; ++i) {
    const auto found = ownership_.find((*devices)[i]);
    if (!found || !found->owner) continue;
    Shard* shard = shards_[found->owner->shard];
    shard->post([shard, to = found->owner->ref] {
      shard->with_session(to, [](DeviceSession& session) { session.recheck_credential(false); });
    });
  }
  if (end < devices->size()) {
    post([this, devices = std::move(devices), end]() mutable { recheck(std::move(devices), end); });
  }
}

// --- watching

void Shard::watch(WatchSetPtr devices) {
  assert_current();
  watched_ = std::move(devices);
  sweep(0, [this](DeviceSession& session) {
    if (session.live()) session.set_watched(watches(session.state()->id));
  });
}

void Shard::tap(const RecordView& record) {
  if (env_.tap == nullptr) return;
  env_.tap->tapped({record.kind,
                    std::string(record.device),
                    std::string(record.name),
                    record.stream,
                    record.seq,
                    record.epoch,
                    record.received_unix_ms,
                    {record.payload.begin(), record.payload.end()}});
}

}  // namespace fieldgate::net
