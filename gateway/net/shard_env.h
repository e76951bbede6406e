// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/pressure.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace fieldgate {
class Admission;
class Authenticator;
class Clock;
class FleetSink;
class FlightRecorder;
class AddressBook;
class LaneFilters;
class LiveTap;
class Log;
class PresenceView;
class Uplink;
class Wire;
}  // namespace fieldgate

namespace fieldgate::net {

// What the device side needs of the rest of the process. All of it may be called
// from any thread and outlives the gateway.
struct GatewayPorts {
  const Clock& clock;
  Log& log;
  const Wire& wire;
  const Authenticator& authenticator;
  Uplink& uplink;
  FleetSink& fleet;
  std::vector<PresenceView*> presence_views;
  Admission& admission;                                  // gives no answer once the gateway is destroyed
  std::shared_ptr<const LaneFilters> filters = nullptr;  // nullptr: every lane wants every device
  FlightRecorder* recorder = nullptr;                    // nullptr: nothing is written down
  LiveTap* tap = nullptr;                                // nullptr: nobody watches
};

// What every shard shares: the above, and what the gateway keeps for all of them.
struct ShardEnv : GatewayPorts {
  AddressBook& addresses;
  std::atomic<std::uint32_t>& connections;          // open device sockets, over all shards
  std::atomic<std::uint32_t>& leaving;              // states of devices on their way home from those
  const std::atomic<Pressure>* pressure = nullptr;  // nullptr: there is never any
};

}  // namespace fieldgate::net
