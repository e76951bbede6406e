// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/presence_book.h"

#include <algorithm>

namespace fieldgate::mqtt {

bool supersedes(const PresenceState& next, Epoch held, bool held_online) noexcept {
  if (next.epoch != held) return next.epoch > held;
  return held_online && !next.online;
}

PresenceBook::PresenceBook(std::string node, std::string boot_id, std::size_t devices_max)
    : node_(std::move(node)), boot_id_(std::move(boot_id)), devices_max_(std::max<std::size_t>(devices_max, 1)) {}

void PresenceBook::set(Entry& entry, const PresenceState& state) {
  entry.epoch = state.epoch;
  entry.since_unix_ms = state.since_unix_ms;
  entry.online = state.online;
  reasons_.exchange(entry.reason, state.reason);
}

void PresenceBook::mark(const DeviceId& device, Entry& entry) {
  entry.changed = true;
  if (entry.queued || entry.in_flight) return;
  entry.queued = true;
  queue_.push_back(device);
}

// Forgets a sixteenth of the book at once, so that a full book is not searched
// for every newcomer.
bool PresenceBook::make_room() {
  if (entries_.size() < devices_max_) return true;
  std::size_t wanted = std::max<std::size_t>(devices_max_ / 16, 1);
  for (const bool unpublished_too : {false, true}) {
    for (auto it = entries_.begin(); it != entries_.end() && wanted > 0;) {
      const Entry& entry = it->second;
      // What another node has now is never said again either.
      const bool gone = !entry.online || entry.foreign >= entry.epoch;
      const bool goes = gone && !entry.in_flight && (unpublished_too || !entry.queued);
      if (goes) {
        reasons_.drop(entry.reason);
        it = entries_.erase(it);
        ++dropped_;
        --wanted;
      } else {
        ++it;
      }
    }
    if (entries_.size() < devices_max_) return true;
  }
  ++dropped_;
  return false;
}

void PresenceBook::apply(const DeviceId& device, const PresenceState& state) {
  auto it = entries_.find(device);
  if (it == entries_.end()) {
    if (!make_room()) return;
    it = entries_.try_emplace(device).first;
    set(it->second, state);
    mark(device, it->second);
    return;
  }
  Entry& entry = it->second;
  if (!supersedes(state, entry.epoch, entry.online) || state.epoch <= entry.foreign) return;
  set(entry, state);
  mark(device, entry);
}

void PresenceBook::seen(const DeviceId& device, const std::optional<RetainedPresence>& presence, bool snapshot,
                        std::int64_t now_ms) {
  const auto it = entries_.find(device);
  if (it == entries_.end()) {
    const bool left_behind = presence && presence->online && presence->node == node_ && presence->boot_id != boot_id_;
    if (left_behind) apply(device, {false, presence->epoch, now_ms, "node_restarted"});
    return;
  }
  Entry& entry = it->second;
  if (entry.foreign >= entry.epoch) return;  // not ours any more
  if (!presence) {
    if (entry.online) mark(device, entry);
    return;
  }
  if (presence->epoch > entry.epoch) {
    entry.foreign = presence->epoch;
    return;
  }
  const bool ours = presence->node == node_ && presence->boot_id == boot_id_;
  // What we ourselves published comes back to us late and in order: ours, and not
  // from the snapshot, means that the newest is on its way.
  if (ours && !snapshot) return;
  if (ours && presence->epoch == entry.epoch && presence->online == entry.online) return;
  mark(device, entry);
}

std::optional<PresenceBook::Update> PresenceBook::next() {
  while (!queue_.empty() && refused_.empty()) {
    const DeviceId device = std::move(queue_.front());
    queue_.pop_front();
    const auto it = entries_.find(device);
    if (it == entries_.end() || !it->second.queued) continue;
    Entry& entry = it->second;
    entry.queued = false;
    if (entry.foreign >= entry.epoch) continue;
    entry.changed = false;
    entry.in_flight = true;
    ++in_flight_;
    const PresenceState state{entry.online, entry.epoch, entry.since_unix_ms, reasons_[entry.reason]};
    return Update{device, write_presence(state, node_, boot_id_)};
  }
  return std::nullopt;
}

void PresenceBook::done(const DeviceId& device, bool accepted) {
  const auto it = entries_.find(device);
  if (it == entries_.end() || !it->second.in_flight) return;
  Entry& entry = it->second;
  entry.in_flight = false;
  --in_flight_;
  if (!accepted) {
    entry.changed = true;
    refused_.push_back(device);
  } else if (entry.changed) {
    mark(device, entry);
  }
}

void PresenceBook::retry_refused() {
  for (const DeviceId& device : refused_) {
    const auto it = entries_.find(device);
    if (it != entries_.end()) mark(device, it->second);
  }
  refused_.clear();
}

void PresenceBook::lost_all() {
  in_flight_ = 0;
  for (auto& [device, entry] : entries_) {
    if (!entry.in_flight) continue;
    entry.in_flight = false;
    mark(device, entry);
  }
  retry_refused();
}

void PresenceBook::republish_all() {
  for (auto& [device, entry] : entries_) mark(device, entry);
}

}  // namespace fieldgate::mqtt
