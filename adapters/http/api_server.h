// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/lane_control.h"
#include "gateway/ports/log.h"
#include "gateway/ports/node_status.h"
#include "gateway/ports/probes.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace fieldgate::http {

// The HTTP API (docs/http-api.md; openapi.json beside this file is its contract):
// answers what the devices, the lanes and the node are doing, and lets an operator
// act on lanes and dead letters.
// Thread:  start() and stop() on one thread; reload() and the FleetSink on any.
//          Requests are served on a thread of its own.
// Borrows: everything given by reference; `live`'s shards may answer after
//          stop(), but not call the FleetSink after the destructor.
// Bounds:  those of ApiSettings; devices known: FleetIndex::k_devices_max.
class ApiServer final : public FleetSink {
 public:
  // `inactive_after`: SessionSettings::inactive_after.
  ApiServer(const ApiSettings& settings, seconds inactive_after, LiveDevices& live, const NodeStatus& status,
            LaneControl& lanes, const Clock& clock, Log& log, HttpProbe& probe);
  ~ApiServer() override;  // stops

  // Listens and serves; gives the port. Errors: token file missing or wrong,
  // certificate unusable, address not to be had; the detail says what to do.
  Result<std::uint16_t> start();

  // Closes every connection and joins the thread. Idempotent.
  void stop();

  // Reads the token file, the JWT keys and the certificate again, for requests and connections
  // from now on. Errors: as start(); what was in force stays. Blocks on disk.
  Result<void> reload();

  void changed(std::vector<DeviceSummary> devices) override;
  void seen(std::vector<SeenUpdate> updates) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate::http
