// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/lane_control.h"
#include "gateway/ports/log.h"
#include "gateway/ports/node_status.h"
#include "gateway/ports/peers.h"
#include "gateway/ports/probes.h"

namespace fieldgate::http {

// What the API asks of the rest of the process, borrowed.
struct ApiPorts {
  LiveDevices& live;
  const NodeStatus& status;
  LaneControl& lanes;
  const Clock& clock;
  Log& log;
  HttpProbe& probe;
  ControlPorts control{};        // null members: no store
  Downlink* downlink = nullptr;  // nullptr: no device can be reached
  Peers* peers = nullptr;        // nullptr: there is no way to other nodes
};

}  // namespace fieldgate::http
