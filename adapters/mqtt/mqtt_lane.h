// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/log.h"
#include "gateway/ports/peers.h"
#include "gateway/ports/presence_view.h"
#include "gateway/ports/probes.h"

#include <cstdint>
#include <memory>
#include <string>

namespace fieldgate::mqtt {

// This process, as consumers behind the broker know it.
struct NodeIdentity {
  std::string node;     // a valid name; a level of the node's topic
  std::string boot_id;  // new at every process start; a valid name
  std::string version;
  std::int64_t started_unix_ms = 0;
};

// The bridge to one MQTT v5 broker: forwards the log's records, and keeps the
// retained presence of the devices and the retained status of this node.
// docs/mqtt.md describes what arrives at the broker.
// Thread: the members of Lane and PresenceView as said there; all else happens
// on a thread of its own, which start() starts and stop() ends.
// Bounds: at most window_max messages unacknowledged; a few MiB of records read
// ahead from the log; 200,000 devices in the presence view. A broker whose packets have cost
// 64 MiB that nothing gives back (library_fault.h) is not connected to again: LaneState::stopped.
// The destructor stops with no patience, if stop() was not called.
// Held, it keeps the retained presence and status current all the same: they are a
// view, not records.
class MqttLane : public Lane, public PresenceView, public ControlSink {
 public:
  // Messages to and from other nodes, by way of this broker; nullptr: it was made without.
  virtual Peers* peers() noexcept = 0;
};

// What the broker will never take goes to `dead_letters`. It, `clock`, `log` and
// `probe` must outlive the lane. Nothing is opened or
// connected before start(); files (CA, key, password) are read anew at each
// connect, and what is wrong with them shows in status().last_error.
// `commands`: where requests go if settings.commands says that they are taken; it must
// give no more answers once the lane is gone. Of ControlSink the lane hears command_changed().
// `inbox`: counts the messages between nodes that this lane then carries; nullptr: none.
// Errors: Errc::invalid_argument for a node name, boot id, topic prefix or route
// that cannot be used.
Result<std::unique_ptr<MqttLane>> make_mqtt_lane(MqttLaneSettings settings, NodeIdentity node, const Clock& clock,
                                                 Log& log, MqttLaneProbe& probe, DeadLetterStore& dead_letters,
                                                 Commands* commands = nullptr, PeerProbe* inbox = nullptr);

}  // namespace fieldgate::mqtt
