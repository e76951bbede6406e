// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/api_ports.h"
#include "gateway/core/settings.h"
#include "gateway/ports/control.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/live_tap.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace fieldgate::http {

// The HTTP API (docs/http-api.md; openapi.json beside this file is its contract):
// answers what the devices, the lanes and the node are doing, and lets an operator
// act on lanes and dead letters.
// Thread:  start() and stop() on one thread; reload() and the sinks on any.
//          Requests are served on a thread of its own.
// Borrows: what ApiPorts names; it may answer after stop(), but not call the sinks
//          after the destructor.
// Bounds:  those of ApiSettings; devices known: FleetIndex::k_devices_max.
class ApiServer final : public FleetSink, public ControlSink, public LiveTap {
 public:
  // `inactive_after`: SessionSettings::inactive_after.
  ApiServer(const ApiSettings& settings, seconds inactive_after, ApiPorts ports);
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
  void registry_changed(std::vector<RegistryChange> changes) override;
  void presence_known(std::vector<PresenceRow> rows) override;
  void fleet_known(const FleetView& fleet) override;
  void command_changed(const std::shared_ptr<const CommandEntry>& command) override;
  void twin_changed(const std::shared_ptr<const Twin>& twin) override;
  void command_seen(const std::shared_ptr<const CommandEntry>& command) override { command_changed(command); }
  void twin_seen(const std::shared_ptr<const Twin>& twin) override { twin_changed(twin); }
  void changes_missed(std::optional<std::uint64_t> count) override;
  void tapped(TappedRecord record) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate::http
