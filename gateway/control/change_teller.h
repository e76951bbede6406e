// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/change_words.h"
#include "gateway/control/links.h"
#include "gateway/control/store_worker.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/peers.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace fieldgate::control {

// Tells the nodes that ask for it which commands and twins this one has written: what it
// was, they read from the store. Where nobody asks, a change costs a number.
// Changes of this process are numbered as they are written, and each word says from which
// number to which it goes: who hears them knows how many it has missed.
// Thread:  the store's, or before that starts.
// Borrows: worker, clock and what is linked, which outlive this.
// Bounds:  k_watchers_max nodes; what was written within k_pause goes together, steps of one
//          command as one: k_batch_max commands and twins, and of more than that how many.
class ChangeTeller final : public ControlSink {
 public:
  static constexpr std::size_t k_watchers_max = 64;
  static constexpr std::size_t k_batch_max = 1'000;
  static constexpr std::chrono::milliseconds k_pause{100};
  static constexpr std::chrono::seconds k_term{15};  // after a question, if none follows

  ChangeTeller(StoreWorker& worker, std::string boot_id, const Clock& clock);
  // Before the worker's start().
  void start(const ControlLinks& links);

  void command_changed(const std::shared_ptr<const CommandEntry>& command) override;
  void twin_changed(const std::shared_ptr<const Twin>& twin) override;

 private:
  struct Watcher {
    WatchQuestion wants;
    std::uint64_t told = 0;  // through this number it was told, or was not to be
    Monotonic until;
  };

  void asked(const std::string& node, WatchQuestion question, const Peers::Answer& answer);
  bool is_wanted(bool WatchQuestion::*kind) const;
  bool full() const noexcept { return commands_.size() + twins_.size() >= k_batch_max; }
  void schedule();
  void flush();
  void tell(const std::string& node, Watcher& watcher) const;

  StoreWorker& worker_;
  const std::string boot_id_;
  const Clock& clock_;
  Peers* peers_ = nullptr;
  std::uint64_t written_ = 0;  // the number of the newest change
  std::map<std::string, Watcher> watchers_;
  // Written since the last words.
  std::vector<CommandChange> commands_;
  std::unordered_map<std::string, std::size_t> command_at_;  // by id: where in commands_
  std::unordered_set<DeviceId> twins_;
  std::uint64_t untold_ = 0;
  bool due_ = false;
};

}  // namespace fieldgate::control
