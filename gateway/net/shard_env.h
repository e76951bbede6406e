// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace fieldgate {
class Authenticator;
class Clock;
class FleetSink;
class Log;
class PresenceView;
class Uplink;
class Wire;
}  // namespace fieldgate

namespace fieldgate::net {

class AddressBook;

// What every shard of a process shares. All of it may be called from any thread
// and outlives the shards.
struct ShardEnv {
  const Clock& clock;
  Log& log;
  const Wire& wire;
  const Authenticator& authenticator;
  Uplink& uplink;
  FleetSink& fleet;
  std::vector<PresenceView*> presence_views;
  std::function<std::optional<Epoch>()> next_epoch;
  AddressBook& addresses;
  std::atomic<std::uint32_t>& connections;  // open device sockets, over all shards
};

}  // namespace fieldgate::net
