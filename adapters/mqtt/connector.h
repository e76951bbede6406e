// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/link.h"
#include "gateway/core/error.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

namespace fieldgate::mqtt {

// Opens links on a helper thread, since that blocks: for name resolution and for
// as long as the kernel repeats its SYN, about two minutes.
// Thread: one, the owner's; `deliver` runs on the helper's and must only post.
// Bounds: one attempt that counts, and at most k_abandoned_max that are given up
// but still stuck in the kernel.
class Connector {
 public:
  using Opened = Result<std::unique_ptr<Link>>;
  using Deliver = std::function<void(std::uint64_t attempt, std::shared_ptr<Opened> link)>;
  static constexpr int k_abandoned_max = 8;

  explicit Connector(Deliver deliver);
  // Gives up what is under way.
  ~Connector();

  // Gives up the attempt before, if it is not finished. False: too many helpers
  // are stuck; try later.
  bool start(ConnectPlan plan);
  // What was delivered has come to the owner's thread. False: it is of an attempt
  // that was given up.
  bool finish(std::uint64_t attempt);
  // What is under way counts no more; its helper ends by itself and touches
  // nothing of ours.
  void abandon();

 private:
  struct Attempt;
  Deliver deliver_;
  std::uint64_t attempts_ = 0;
  std::shared_ptr<Attempt> attempt_;
  std::thread helper_;
  std::shared_ptr<std::atomic<int>> abandoned_;
};

}  // namespace fieldgate::mqtt
