// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstdint>
#include <string>

namespace fieldgate {

// One entry of the presence log. Per device, epochs only rise, and in each epoch
// there is at most one online and then at most one offline.
struct PresenceEvent {
  DeviceId device;
  Epoch epoch{};
  bool online = false;
  std::string node{};
  std::string boot_id{};
  std::int64_t unix_ms = 0;
  std::string reason{};      // offline only: name of the EndReason
  std::uint64_t number = 0;  // given by the store, rising over all devices
};

}  // namespace fieldgate
