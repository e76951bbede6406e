// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/control.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/flight_recorder.h"
#include "gateway/ports/owners.h"
#include "gateway/ports/peers.h"

#include <string>
#include <vector>

namespace fieldgate::control {

// Whom the services of this room speak to. Set before the store's thread starts; what
// is borrowed outlives it. Null: nobody is there to be told.
struct ControlLinks {
  std::vector<ControlSink*> sinks;
  Downlink* downlink = nullptr;
  FlightRecorder* recorder = nullptr;
  // The other nodes, and the name by which they know this one. Null: there are none.
  Peers* peers = nullptr;
  std::string node{};
  Owners* owners = nullptr;
};

}  // namespace fieldgate::control
