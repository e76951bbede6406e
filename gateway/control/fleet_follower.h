// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/links.h"
#include "gateway/control/store_worker.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/log.h"
#include "gateway/ports/owners.h"
#include "gateway/ports/probes.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::control {

struct FollowLimits {
  std::chrono::milliseconds poll{500};            // between two looks at the presence log
  std::chrono::milliseconds sweep_step{250};      // between two pages of the table
  std::chrono::milliseconds sweep_every{60'000};  // at the least, from the beginning of one sweep to the next's
};

// Brings to this node what the others write into the presence log. It reads the log from
// where it stood, so nothing is missed and nothing depends on a message; a message only
// makes it look sooner.
// - A device that another node has let in is ended here (Owners::superseded).
// - A connection of this node that peers have ended while it went on gets a new epoch
//   (Owners::renew); one that somebody kicked at another node ends.
// - The sinks hear of every device and node. Time stamps and profiles are not in the log: for
//   those the whole table is read, page by page, again and again.
// - Where the log does not go on from where it stood (a store restored from a copy, or one so
//   far ahead that the log was trimmed meanwhile), the table is read at once and compared with
//   what is connected here, and `set_back` is called, so that everything connected is said again.
// Thread: look() any; all else the store's, or before that starts.
// Borrows: worker, clock, log, probe, links; all outlive the worker's stop().
// Bounds: k_page events or rows at once; of connections to be renewed, those that failed.
class FleetFollower {
 public:
  static constexpr std::size_t k_page = 1'000;

  FleetFollower(StoreWorker& worker, NodeRow self, const Clock& clock, Log& log, FollowLimits limits,
                MembershipProbe& probe);
  // Finds out where the log stands, if the store can be reached; waits. Before the worker's
  // start(), and before anybody reads presence rows to begin with. Errors: the store's, but
  // for Errc::unavailable.
  Result<void> start(const ControlLinks& links, std::function<void()> set_back);
  // Soon: somebody says that there is something to see.
  void look();

 private:
  // What one look at the store has found.
  struct Look {
    bool goes_on = true;  // the log, from where it stood
    std::vector<PresenceEvent> events;
    std::vector<PresenceRow> rows;  // of the devices of those that are not of this process
    std::vector<NodeRow> nodes;
    bool more = false;
  };

  void poll_again();
  void poll();
  Result<void> read(DeviceStore& store, Look& look) const;
  Result<void> read_end(DeviceStore& store, Look& look) const;
  void take(const Look& look);
  void take(const std::vector<PresenceEvent>& events);
  void sweep_again();
  void sweep();
  void swept(const std::vector<PresenceRow>& rows);
  void examine(const std::vector<PresenceRow>& rows);
  void renew(std::vector<Standing> lost);
  bool is_own(const std::string& node, const std::string& boot_id) const {
    return node == self_.name && boot_id == self_.boot_id;
  }
  void tell(const std::vector<PresenceRow>& rows);

  StoreWorker& worker_;
  const NodeRow self_;
  const Clock& clock_;
  Log& log_;
  const FollowLimits limits_;
  MembershipProbe& probe_;
  std::atomic<bool> called_{false};  // a look is posted

  // The store thread's.
  ControlLinks links_;
  std::function<void()> set_back_;
  std::vector<PresenceEvent> last_;  // the newest that was read; none: the log was empty
  bool known_ = false;               // where the log stands
  bool polling_ = false;
  bool sweeping_ = false;
  std::string swept_;     // through this id
  bool examine_ = false;  // this sweep is to find what the log did not tell
  bool examine_next_ = false;
  Monotonic sweep_began_{};
  std::vector<Standing> failed_;  // to be renewed yet
};

}  // namespace fieldgate::control
