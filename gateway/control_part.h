// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/admission_desk.h"
#include "gateway/control/change_listener.h"
#include "gateway/control/change_teller.h"
#include "gateway/control/command_desk.h"
#include "gateway/control/fleet_follower.h"
#include "gateway/control/journal_lane.h"
#include "gateway/control/links.h"
#include "gateway/control/node_reaper.h"
#include "gateway/control/presence_log.h"
#include "gateway/control/registry_desk.h"
#include "gateway/control/store_worker.h"
#include "gateway/control/timeline_desk.h"
#include "gateway/control/twin_desk.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/ports/admission.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/wire.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate {

// The store and all that stands on it, put together as the settings say: registry and
// admission, presence, commands, twins, timelines, and the lane by which what devices
// say comes into the store.
// Thread: made, started, stopped and destroyed by one thread; what it lends is used as
//         it says itself. Of FleetSink: any.
class ControlPart final : public FleetSink {
 public:
  struct Borrowed {
    const Clock& clock;
    Log& log;
    const RecordReader& reader;
    DeadLetterStore& dead_letters;
    Epoch floor;  // epochs of the store are above this
  };
  // Opens the store; waits for it. nullptr: store.kind is none. Errors: the store is not
  // to be used, and what to do. A PostgreSQL that cannot be reached is none: it is
  // waited for.
  static Result<std::unique_ptr<ControlPart>> make(const Settings& settings, const NodeRow& node, Borrowed borrowed);
  ~ControlPart() override;

  Admission& admission() noexcept { return admission_; }
  const CommandProbe& command_probe() const noexcept { return commands_.probe(); }
  const MembershipProbe& membership_probe() const noexcept { return membership_; }
  FlightRecorder& recorder() noexcept { return timelines_; }
  Lane& lane() noexcept { return lane_; }
  ControlPorts ports();
  StoreStatus status() const { return worker_.status(); }

  // Reads what is there, tells the sinks, and starts the store's thread. Once all that
  // `links` names is made, and before devices come.
  Result<void> start(control::ControlLinks links);
  // Ends no more of what dead nodes left online: other nodes do. It is so, and nothing of it is
  // still to be told to the gateway, once has_left_the_dead(). Any thread.
  void leave_the_dead() { reaper_.retire(); }
  bool has_left_the_dead() const noexcept { return !shared_ || reaper_.retired(); }
  // After the lane's stop() and the gateway's.
  void stop(std::chrono::milliseconds patience);

  void changed(std::vector<DeviceSummary> devices) override;
  void seen(std::vector<SeenUpdate> updates) override { presence_.seen(std::move(updates)); }

 private:
  ControlPart(const Settings& settings, const NodeRow& node, std::unique_ptr<DeviceStore> store, Borrowed borrowed);

  const std::string node_;
  MembershipProbe membership_;
  control::StoreWorker worker_;
  control::RegistryDesk registry_;
  control::AdmissionDesk admission_;
  control::PresenceLog presence_;
  control::FleetFollower follower_;
  control::NodeReaper reaper_;
  control::TimelineDesk timelines_;
  control::CommandDesk commands_;
  control::TwinDesk twins_;
  control::ChangeTeller teller_;
  control::ChangeListener listener_;
  control::JournalLane lane_;
  const bool shared_;  // several nodes on one store
  bool started_ = false;
};

}  // namespace fieldgate
