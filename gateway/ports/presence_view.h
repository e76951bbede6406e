// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstdint>
#include <string>

namespace fieldgate {

// A device's presence as this node, its owner, knows it.
struct PresenceState {
  bool online = false;
  Epoch epoch;
  std::int64_t since_unix_ms = 0;
  std::string reason;  // offline only: name of the EndReason
};

// The retained picture of who is online: coalesced, the newest epoch wins, not
// part of the log.
// Thread: any; never waits.
class PresenceView {
 public:
  virtual ~PresenceView() = default;
  virtual void publish(const DeviceId& device, const PresenceState& state) = 0;
};

}  // namespace fieldgate
