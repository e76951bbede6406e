// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_entry.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/control.h"
#include "gateway/ports/device_store.h"

#include <cstddef>
#include <optional>
#include <vector>

namespace fieldgate::http {

// News of the fleet on their way to the API's thread.
// Thread: any.
// Bounds: of time stamps, the newest stamps_max; of what else is known of a device, one
//         entry of each kind for each device once there are changes_max of that kind.
class FleetInbox {
 public:
  struct Content {
    std::vector<DeviceSummary> changed{};
    std::vector<SeenUpdate> seen{};
    std::vector<RegistryChange> registry{};
    std::vector<PresenceRow> known{};  // from before this process, or of other nodes
    std::optional<FleetView> fleet{};  // the newest; all of the above has come before it
  };

  explicit FleetInbox(std::size_t changes_max = 65'536, std::size_t stamps_max = 131'072)
      : changes_max_(changes_max), stamps_max_(stamps_max) {}

  // True if somebody must now be told to take(); once until it is done.
  bool put(std::vector<DeviceSummary> changed) EXCLUDES(mutex_);
  bool put(std::vector<SeenUpdate> seen) EXCLUDES(mutex_);
  bool put(std::vector<RegistryChange> changes) EXCLUDES(mutex_);
  bool put(std::vector<PresenceRow> known) EXCLUDES(mutex_);
  bool put(FleetView fleet) EXCLUDES(mutex_);

  Content take() EXCLUDES(mutex_);

 private:
  bool announce() REQUIRES(mutex_);

  const std::size_t changes_max_;
  const std::size_t stamps_max_;
  Mutex mutex_;
  Content content_ GUARDED_BY(mutex_);
  bool announced_ GUARDED_BY(mutex_) = false;
  // Of each kind: how many there may be before they are reduced to the last of each device.
  struct Marks {
    std::size_t changed = 0;
    std::size_t registry = 0;
    std::size_t known = 0;
  };
  Marks reduce_at_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::http
