// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_entry.h"
#include "gateway/core/device_summary.h"

namespace fieldgate::http {

// Hears what has changed in the index of the fleet, once it is there.
// Thread: the loop's.
class FleetListener {
 public:
  virtual ~FleetListener() = default;
  // It has come, or gone: never of a device that was first heard of as offline.
  virtual void moved(const DeviceSummary& device) = 0;
  virtual void registered(const RegistryChange& change) = 0;
};

}  // namespace fieldgate::http
