// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/spool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

// What tests of spools share.
namespace fieldgate::spool {

inline std::shared_ptr<RecordBlock> make_block(std::size_t records, std::uint64_t first_seq = 1,
                                               std::uint32_t shard = 0, std::size_t payload_bytes = 7) {
  auto block = std::make_shared<RecordBlock>(shard);
  const std::string payload(payload_bytes, 'p');
  for (std::size_t i = 0; i < records; ++i) {
    RecordView view;
    view.device = "device";
    view.seq = {first_seq + i};
    view.payload = std::as_bytes(std::span(payload));
    block->append(view);
  }
  return block;
}

// Lets a test wait for what a spool does in its own time.
class WatchedEvents final : public SpoolEvents {
 public:
  void durable_advanced() override { tell(durable_count); }
  void readable() override { tell(readable_count); }
  void usage_changed() override { tell(usage_count); }

  // Asks `met` again whenever something was told; what comes true without a word
  // is found a little later. False: not within a time that no machine needs.
  bool wait_for(const std::function<bool()>& met) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!met()) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      const MutexLock lock(mutex_);
      if (!news_) told_.wait_for(mutex_, std::chrono::milliseconds(5));
      news_ = false;
    }
    return true;
  }

  std::atomic<int> durable_count = 0;
  std::atomic<int> readable_count = 0;
  std::atomic<int> usage_count = 0;

 private:
  void tell(std::atomic<int>& count) {
    ++count;
    const MutexLock lock(mutex_);
    news_ = true;
    told_.notify_all();
  }
  Mutex mutex_;
  std::condition_variable_any told_;
  bool news_ GUARDED_BY(mutex_) = false;
};

}  // namespace fieldgate::spool
