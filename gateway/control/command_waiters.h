// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/timer_wheel.h"
#include "gateway/ports/control.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::control {

// Those who wait for a command to come to its end.
// Thread: one. Bounds: k_max of them.
class CommandWaiters {
 public:
  static constexpr std::size_t k_max = 10'000;

  explicit CommandWaiters(std::uint32_t tick) : wheel_(tick) {}
  bool full() const noexcept { return waiters_.size() >= k_max; }
  bool has(const std::string& id) const { return waiters_.contains(id); }
  // Commands that are waited for, by id after `after`, at most `limit`.
  std::vector<std::string> some(const std::string& after, std::size_t limit) const;
  // Precondition: not full. `tick`: when its patience ends.
  void add(const std::string& id, std::uint32_t tick, Reply<CommandEntry> reply);
  // Answers those who wait for it.
  void ended(const std::string& id, const Result<CommandEntry>& outcome);
  // Takes out those whose patience has ended.
  struct Impatient {
    std::string id;
    Reply<CommandEntry> reply;
  };
  std::vector<Impatient> advance(std::uint32_t tick);

 private:
  struct Waiter : TimerNode {
    std::string id;
    std::uint32_t until = 0;
    Reply<CommandEntry> reply;
  };
  TimerWheel wheel_;
  std::multimap<std::string, std::unique_ptr<Waiter>> waiters_;
};

}  // namespace fieldgate::control
