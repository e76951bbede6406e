// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/change_words.h"
#include "gateway/control/links.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/fleet_changes.h"
#include "gateway/ports/log.h"
#include "gateway/ports/peers.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::control {

// Shows here what other nodes write of commands and twins, while somebody wants to see it.
// Every live node is asked to tell (ChangeTeller), again and again; what it tells is where
// to look, and is read from the store. Words are counted by what they cover, so what did not
// come is known, and said: how many changes were missed at most, or, of a node that cannot be
// heard or has ended, that nobody knows.
// Words without the tag of the present watch are dropped: who has not seen a question to a
// node cannot make this one read anything.
// Thread:  watch() any; the rest: the store's, or before that starts.
// Borrows: worker, clock, log and what is linked, which outlive this.
// Bounds:  k_words_max words on their way to the store's thread; k_unread_max commands and
//          twins to be read, k_commands_per_job and k_twins_per_job of them in one
//          transaction, with k_pause in between. What there is no room for is missed.
class ChangeListener final : public FleetChanges, public ControlSink {
 public:
  static constexpr std::size_t k_words_max = 256;
  static constexpr std::size_t k_unread_max = 10'000;
  static constexpr std::size_t k_commands_per_job = 500;
  static constexpr std::size_t k_twins_per_job = 100;
  static constexpr std::chrono::milliseconds k_pause{50};
  static constexpr std::chrono::milliseconds k_tick{1'000};
  static constexpr std::chrono::seconds k_again{5};  // between two questions to a node
  static constexpr std::chrono::seconds k_patience{3};

  // `node`: this one's name.
  ChangeListener(StoreWorker& worker, std::string node, const Clock& clock, Log& log);
  // Before the worker's start(). This is to be one of the sinks that hear of the fleet.
  void start(const ControlLinks& links);

  void watch(ChangeWatchPtr what) override;
  void fleet_known(const FleetView& fleet) override;

 private:
  struct Peer {
    std::string boot_id;
    std::optional<std::uint64_t> through{};  // all that is wanted is known up to this change; nullopt: not asked yet
    Monotonic ask_at{};
    bool asking = false;
    bool heard = true;  // as far as is known
  };
  struct Arrived {
    std::string node;
    std::string boot_id;
    ChangeWord word;
  };
  struct Read;  // what is being read from the store

  void tick();
  void set_watch(ChangeWatchPtr what);
  void meet(bool begins);
  void ask_due();
  void ask(const std::string& node, Peer& peer);
  void answered(const std::string& node, const std::string& tag, const Result<std::string>& answer);
  void unheard(const std::string& node, Peer& peer, const std::string& why);
  void advance(Peer& peer, std::uint64_t after, std::uint64_t through);

  void arrived(PeerMessage message) EXCLUDES(mutex_);
  void take_words() EXCLUDES(mutex_);
  void take(Arrived arrived);
  void read();
  static Result<void> read_in(DeviceStore& store, Read& job);
  void show(const Read& job);
  void missed(std::optional<std::uint64_t> count);

  StoreWorker& worker_;
  const std::string node_;
  const Clock& clock_;
  Log& log_;
  ControlLinks links_;

  // The store thread's.
  ChangeWatchPtr watch_;                                    // nullptr: nobody wants to see any
  std::string tag_;                                         // of this watch
  std::optional<std::map<std::string, std::string>> live_;  // the other nodes that live, with their boots
  std::map<std::string, Peer> peers_;
  std::deque<CommandChange> commands_;  // unread
  std::deque<DeviceId> twins_;
  bool reading_ = false;

  Mutex mutex_;
  std::string wanted_tag_ GUARDED_BY(mutex_);  // tag_; empty: nothing is taken
  std::vector<Arrived> words_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::control
