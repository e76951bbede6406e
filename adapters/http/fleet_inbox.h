// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_summary.h"
#include "gateway/core/mutex.h"

#include <cstddef>
#include <vector>

namespace fieldgate::http {

// What the shards said about devices and the API thread has not yet taken.
// Thread: any.
// Bounds: stamps beyond stamps_max push out the oldest (the shards repeat them);
//         changes are reduced to the last one per device whenever they have
//         doubled, so that they stay below twice the devices plus changes_max.
class FleetInbox {
 public:
  struct Content {
    std::vector<DeviceSummary> changed;  // in order per device
    std::vector<SeenUpdate> seen;
  };

  explicit FleetInbox(std::size_t changes_max = 65'536, std::size_t stamps_max = 131'072)
      : changes_max_(changes_max), stamps_max_(stamps_max), reduce_at_(changes_max) {}

  // True if somebody must now be told to take(); once until it is done.
  bool put(std::vector<DeviceSummary> changed) EXCLUDES(mutex_);
  bool put(std::vector<SeenUpdate> seen) EXCLUDES(mutex_);

  Content take() EXCLUDES(mutex_);

 private:
  bool announce() REQUIRES(mutex_);
  void reduce() REQUIRES(mutex_);

  const std::size_t changes_max_;
  const std::size_t stamps_max_;
  Mutex mutex_;
  Content content_ GUARDED_BY(mutex_);
  bool announced_ GUARDED_BY(mutex_) = false;
  std::size_t reduce_at_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::http
