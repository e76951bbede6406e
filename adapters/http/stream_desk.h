// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/access.h"
#include "adapters/http/api_ports.h"
#include "adapters/http/fleet_listener.h"
#include "adapters/http/loop.h"
#include "adapters/http/message.h"
#include "adapters/http/stream_hub.h"
#include "adapters/http/stream_inbox.h"
#include "adapters/northbound/json_writer.h"
#include "gateway/core/fleet_index.h"
#include "gateway/core/settings.h"

#include <map>
#include <memory>
#include <string>

namespace fieldgate::http {

// Opens live streams, and makes events of what the process does.
// Thread:  the loop's.
// Borrows: what `ports` names; the index.
// Bounds:  those of StreamHub. Until somebody has listened, nothing is written at all.
class StreamDesk final : public FleetListener {
 public:
  StreamDesk(const std::weak_ptr<Loop>& loop, const ApiStreamSettings& settings, const ApiPorts& ports,
             const FleetIndex& index);

  // GET /stream.
  Response open(const Request& request, const TokenHolder& holder);

  void moved(const DeviceSummary& device) override;
  void registered(const RegistryChange& change) override;
  void take(StreamInbox::Content content);
  // About once a second.
  void tick();
  // The tokens or keys have changed: streams of those that do not count any more end.
  void recheck(const Access& access);

  std::size_t subscribers() const noexcept { return hub_->subscribers(); }
  // Between news and their sending.
  milliseconds pause() const noexcept { return hub_->pause(); }

 private:
  // As much of a lane as makes an event of its change.
  struct LaneFace {
    LaneState state = LaneState::connecting;
    bool held = false;
    std::string last_error;
    friend bool operator==(const LaneFace&, const LaneFace&) = default;
  };

  void tell_record(const TappedRecord& record);
  void tell_lanes();

  const ApiPorts& ports_;
  const std::shared_ptr<StreamHub> hub_;
  const std::size_t devices_max_;
  northbound::JsonWriter writer_;
  std::string text_;  // of the last record; keeps its memory
  std::map<std::string, LaneFace> lanes_;
};

}  // namespace fieldgate::http
