// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/ports/live_tap.h"

#include <memory>

namespace fieldgate {

// Of which devices somebody wants to see something.
struct ChangeScope {
  bool all = false;
  WatchSet devices{};
  bool none() const noexcept { return !all && devices.empty(); }
  bool has(const DeviceId& device) const { return all || devices.contains(device); }
};

// What is shown here of what other nodes write.
struct ChangeWatch {
  ChangeScope commands{};
  ChangeScope twins{};
};
using ChangeWatchPtr = std::shared_ptr<const ChangeWatch>;

// Brings what other nodes write into the store to who shows it here: ControlSink's
// command_seen(), twin_seen() and changes_missed().
// Thread: any; never waits.
class FleetChanges {
 public:
  virtual ~FleetChanges() = default;
  // From a moment later on, and until the next call; nullptr: nobody wants to see any.
  virtual void watch(ChangeWatchPtr what) = 0;
};

}  // namespace fieldgate
