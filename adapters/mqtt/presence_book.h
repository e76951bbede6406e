// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/presence_json.h"
#include "gateway/core/dictionary.h"
#include "gateway/core/ids.h"
#include "gateway/ports/presence_view.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

namespace fieldgate::mqtt {

// True if `next` says something newer than what is held: a larger epoch, or, within
// one epoch, offline after online.
bool supersedes(const PresenceState& next, Epoch held, bool held_online) noexcept;

// Which presence has to be retained at the broker, and what of it is still to be
// published: per device the newest state alone.
// Thread: one.
// Bounds: devices_max, about 90 bytes each. When it is full, devices that are offline or at another node are
// forgotten first (their retained message stays as it is); else the new one is not taken.
// Both are counted in dropped().
class PresenceBook {
 public:
  PresenceBook(std::string node, std::string boot_id, std::size_t devices_max);

  // This node's own knowledge. Dropped if it is older than what is known, or if
  // another node has been seen to hold the device with a larger epoch.
  void apply(const DeviceId& device, const PresenceState& state);

  // What the broker has for `device`; nullopt: nothing, or nothing that can be read.
  // `snapshot`: it was retained when we subscribed, not just published. Ours is
  // asserted again over what is older or gone; what another node says with a
  // larger epoch is left alone; what an earlier boot of this node left online is
  // set offline.
  void seen(const DeviceId& device, const std::optional<RetainedPresence>& presence, bool snapshot,
            std::int64_t now_ms);

  struct Update {
    DeviceId device;
    std::string payload;
  };
  // The next that has to be published: never one whose last publish is still in
  // flight, and none between a refusal and retry_refused(). The caller reports its
  // end with done() or lost_all().
  std::optional<Update> next();
  // `device`'s publish was acknowledged; not `accepted`: refused by the broker.
  void done(const DeviceId& device, bool accepted);
  void retry_refused();

  // The connection is gone: what was in flight has to be published again.
  void lost_all();
  // The broker has forgotten us: everything has to be published again.
  void republish_all();

  bool has_refused() const noexcept { return !refused_.empty(); }
  bool idle() const noexcept { return queue_.empty() && in_flight_ == 0; }
  std::size_t size() const noexcept { return entries_.size(); }
  std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  struct Entry {
    Epoch epoch;
    Epoch foreign;  // largest epoch another node was seen to hold
    std::int64_t since_unix_ms = 0;
    Dictionary<std::string>::Number reason = 0;
    bool online = false;
    bool queued = false;  // is in queue_
    bool in_flight = false;
    bool changed = false;  // since it was published, or never published
  };
  using Map = std::unordered_map<DeviceId, Entry>;

  void set(Entry& entry, const PresenceState& state);
  void mark(const DeviceId& device, Entry& entry);
  bool make_room();

  std::string node_;
  std::string boot_id_;
  std::size_t devices_max_;
  Map entries_;
  Dictionary<std::string> reasons_;
  std::deque<DeviceId> queue_;    // devices to publish, oldest first; some may be gone from the map
  std::deque<DeviceId> refused_;  // by the broker, waiting for retry_refused()
  std::size_t in_flight_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace fieldgate::mqtt
