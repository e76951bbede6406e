// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/store_worker.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/ids.h"
#include "gateway/core/mutex.h"

#include <functional>
#include <span>
#include <unordered_map>

namespace fieldgate::control {

// A device came or went.
struct DeviceWord {
  Epoch epoch;
  bool online = false;
};

// Takes from the shards which devices have come and gone, to the store's thread. What
// comes before it is looked at is folded: of each device the newest word counts.
// Thread:  changed() any; `heard` is called on the store's.
// Bounds:  one word per device, and one post.
class DeviceInbox {
 public:
  using Words = std::unordered_map<DeviceId, DeviceWord>;

  DeviceInbox(StoreWorker& worker, std::function<void(const Words&)> heard)
      : worker_(worker), heard_(std::move(heard)) {}

  void changed(std::span<const DeviceSummary> devices) {
    bool first = false;
    {
      const MutexLock lock(mutex_);
      first = words_.empty();
      for (const DeviceSummary& device : devices) {
        const auto [at, fresh] = words_.try_emplace(device.id, DeviceWord{device.epoch, device.online});
        if (!fresh && device.epoch >= at->second.epoch) at->second = {device.epoch, device.online};
      }
      first = first && !words_.empty();
    }
    if (first) worker_.post([this] { deliver(); });
  }

 private:
  void deliver() {
    Words words;
    {
      const MutexLock lock(mutex_);
      words.swap(words_);
    }
    heard_(words);
  }

  StoreWorker& worker_;
  const std::function<void(const Words&)> heard_;
  Mutex mutex_;
  Words words_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::control
