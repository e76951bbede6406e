// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_summary.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/ids.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fieldgate {

// A connection of a device, by the epoch that it was given.
struct Standing {
  DeviceId device;
  Epoch epoch{};
};

// A connection to a node that ended without a word, as its peers have found.
struct LostConnection {
  DeviceId device;
  Epoch epoch{};
  std::string node{};
  std::string boot_id{};
  std::int64_t unix_ms = 0;  // of its end, as they wrote it down
  Labels labels{};
};

// The connections of this node, for those who hear what other nodes do to the same devices.
// What is said of a connection that is not here any more changes nothing.
// Thread: any; never waits. Answers come on a shard's thread: post them where they belong.
class Owners {
 public:
  virtual ~Owners() = default;
  // Another node has let these devices in, in these epochs: who has one of them here with a
  // lesser epoch, or claims it, ends as taken_over; who is awaited here (see Ownership) is so no
  // more. `node`: for people.
  virtual void superseded(std::vector<Standing> by, const std::string& node) = 0;
  // Peers have ended these while they went on. Each asks admission for a new epoch, without a
  // word to the device, and says that it is online in it; one that is not let in ends.
  // `failed`: there was no epoch to be had; to be said again later.
  virtual void renew(std::vector<Standing> lost, std::function<void(Standing)> failed) = 0;
  // The connection of that epoch ends for `reason`. Where it has ended, and the device is awaited,
  // it is said to be offline now.
  virtual void end(const Standing& connection, EndReason reason) = 0;
  // Every device that is connected, some at a time.
  virtual void list(std::function<void(std::vector<DeviceSummary>)> some) = 0;
  // Of those that are neither connected in that epoch nor awaited: what is so instead, as far as
  // it is known.
  virtual void compare(std::vector<Standing> believed, std::function<void(std::vector<DeviceSummary>)> otherwise) = 0;
  // Says into the uplink log that these are offline, for node_lost, for who follows
  // presence there; nothing of a device that is connected here, or awaited since.
  virtual void tell_lost(std::vector<LostConnection> lost) = 0;
};

}  // namespace fieldgate
