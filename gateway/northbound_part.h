// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/mqtt_lane.h"
#include "adapters/prometheus/exporter.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/log.h"
#include "gateway/ports/peers.h"
#include "gateway/ports/presence_view.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/spool.h"
#include "gateway/uplink/uplink_log.h"

#include <memory>
#include <string>
#include <vector>

namespace fieldgate {

// The way north, put together as the settings say: the spool, the dead letters, the
// lanes, and the log between them.
// Thread: made and destroyed by one thread; what it lends is used as it says itself.
class NorthboundPart {
 public:
  // Opens the spool. Waits for the disk; nothing runs yet. `clock` and `log` must
  // outlive it. Errors: a spool that is not to be had, and what to do.
  static Result<std::unique_ptr<NorthboundPart>> make(const Settings& settings, const Clock& clock, Log& log);

  DeadLetterStore& dead_letters() noexcept { return *dead_letters_; }

  // Makes the lanes and the log, and reads what an earlier process left in the spool.
  // `store_lane` and `commands`: the store's, nullptr without one; both must outlive
  // uplink().stop().
  // Errors: a lane that is not to be had; the detail says which, and what to do.
  Result<void> build(const Settings& settings, const std::string& node, const std::string& boot_id, Lane* store_lane,
                     Commands* commands, const Clock& clock, Log& log);

  // Its stop() closes the spool as well.
  uplink::UplinkLog& uplink() noexcept { return *uplink_; }
  // Of the lanes that keep one.
  const std::vector<PresenceView*>& presence_views() const noexcept { return presence_views_; }
  // The lanes that take commands hear here what becomes of them.
  const std::vector<ControlSink*>& control_sinks() const noexcept { return control_sinks_; }
  // The way to other nodes; nullptr: the store is this node's own, or no lane may carry it.
  Peers* peers() const noexcept { return peers_; }
  void describe_to(metrics::Sources& sources) const;

 private:
  NorthboundPart() = default;
  Result<void> make_spool(const Settings& settings, const Clock& clock, Log& log);

  // Each stands above those that borrow it.
  struct MqttLanePart {
    std::string name;
    std::unique_ptr<MqttLaneProbe> probe;
    std::unique_ptr<mqtt::MqttLane> lane;
  };
  struct WebhookLanePart {
    std::string name;
    std::unique_ptr<WebhookLaneProbe> probe;
    std::unique_ptr<Lane> lane;
  };
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<DeadLetterStore> own_dead_letters_;  // where the spool has none
  DeadLetterStore* dead_letters_ = nullptr;
  const SpoolProbe* spool_probe_ = nullptr;  // of a spool on disk
  PeerProbe peer_probe_;
  std::vector<MqttLanePart> mqtt_;
  std::vector<WebhookLanePart> webhooks_;
  std::vector<PresenceView*> presence_views_;
  std::vector<ControlSink*> control_sinks_;
  Peers* peers_ = nullptr;  // a lane's
  std::unique_ptr<uplink::UplinkLog> uplink_;
};

}  // namespace fieldgate
