// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/store_worker.h"
#include "gateway/core/mutex.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace fieldgate::control {

// Words of other nodes on their way to the store's thread: what is to be looked at, and
// which node said so last. They are folded, for each says no more than "look": whoever
// forges them gets no more than one look at each thing at a time.
// Thread: nudge() any; `heard` is called on the store's.
// Bounds: k_max different ones every k_rest; what comes beyond is dropped, and found out later
//         without.
class NudgeBox {
 public:
  static constexpr std::size_t k_max = 1'000;
  static constexpr std::chrono::milliseconds k_rest{20};
  using Nudges = std::map<std::string, std::string>;  // what, and by whom

  NudgeBox(StoreWorker& worker, std::function<void(const Nudges&)> heard) : worker_(worker), heard_(std::move(heard)) {}

  void nudge(std::string what, std::string from) {
    bool call = false;
    {
      const MutexLock lock(mutex_);
      if (nudges_.size() >= k_max && !nudges_.contains(what)) return;
      nudges_.insert_or_assign(std::move(what), std::move(from));
      call = !std::exchange(called_, true);
    }
    if (call) worker_.post([this] { deliver(); });
  }

 private:
  void deliver() {
    Nudges nudges;
    {
      const MutexLock lock(mutex_);
      nudges.swap(nudges_);
      if (nudges.empty()) {
        called_ = false;
        return;
      }
    }
    heard_(nudges);
    worker_.after(k_rest, [this] { deliver(); });
  }

  StoreWorker& worker_;
  const std::function<void(const Nudges&)> heard_;
  Mutex mutex_;
  Nudges nudges_ GUARDED_BY(mutex_);
  bool called_ GUARDED_BY(mutex_) = false;  // deliver() is to come
};

}  // namespace fieldgate::control
