// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/api_ports.h"
#include "adapters/http/fleet_inbox.h"
#include "adapters/http/fleet_listener.h"
#include "adapters/http/handler.h"
#include "adapters/http/list_query.h"
#include "adapters/http/loop.h"
#include "adapters/http/routes.h"
#include "adapters/http/sealed_cursor.h"
#include "gateway/core/fleet_index.h"

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

namespace fieldgate::http {

// Keeps the index of the fleet, and answers what devices and nodes there are and what
// they are doing. Knows nothing of tokens.
// Thread:  the loop's, but for the answers of `live` and `peers`, which may come on any.
// Borrows: everything given by reference.
// With other nodes the index follows the store: it knows every device, and says as of when.
// What only a device's own node has, that node is asked for.
// Bounds:  one question to `live` per request that waits, given up after
//          k_live_deadline; k_apply_max news of the fleet in one go.
class FleetDesk {
 public:
  static constexpr std::chrono::milliseconds k_live_deadline{500};
  static constexpr std::size_t k_apply_max = 4'096;

  FleetDesk(std::weak_ptr<Loop> loop, std::int64_t inactive_after_ms, const ApiPorts& ports, const CursorSeal& seal)
      : loop_(std::move(loop)), ports_(ports), seal_(seal), index_(inactive_after_ms) {}

  // Precondition: the route is devices, device, latest or nodes.
  void answer(Route route, const Request& request, Handler::Respond respond);

  void apply(FleetInbox::Content news);
  // Who hears of it from now on.
  void tell(FleetListener& listener) noexcept { listener_ = &listener; }

  FleetIndex& index() noexcept { return index_; }
  const FleetIndex& index() const noexcept { return index_; }

 private:
  class Export;
  struct Question {
    Handler::Respond respond;
    DeviceId device;
    std::string request_id;
    bool latest;  // the telemetry alone
    bool here;    // asked of this node's shards
  };

  Response list_devices(const Request& request) const;
  void ask_live(const Request& request, bool latest, Handler::Respond respond);
  // `answered`: false for a deadline that passed.
  void conclude(std::uint64_t number, bool answered, std::optional<DeviceDetail> detail);
  Response device_answer(const Question& question, bool answered, const DeviceDetail* detail) const;
  void ask_peer(std::uint64_t number, const DeviceId& device, const std::string& node);
  void take_peers_word(std::optional<DeviceDetail>& detail);
  bool shared() const noexcept { return view_.has_value(); }
  void list_nodes(Handler::Respond respond) const;
  void look_at(FleetView view);
  void apply_some();
  const NodeInfo& here();
  void apply_one(const PresenceRow& row);
  void apply_one(const DeviceSummary& change);
  void apply_one(const RegistryChange& change);
  DeviceSummary placed(DeviceSummary device);
  DeviceSummary remembered(const PresenceRow& row);

  std::weak_ptr<Loop> loop_;
  const ApiPorts& ports_;
  const CursorSeal& seal_;
  FleetIndex index_;
  FleetListener* listener_ = nullptr;
  // Not applied yet, but for the first so many of each kind.
  struct News {
    FleetInbox::Content all;
    std::size_t known = 0;
    std::size_t registry = 0;
    std::size_t changed = 0;
    std::size_t seen = 0;
  };
  std::deque<News> news_;
  std::optional<FleetView> view_;  // nullopt: there are no other nodes, or none was heard of yet
  std::optional<NodeInfo> here_;   // does not change while the process lives, as far as it is looked at
  std::unordered_map<std::uint64_t, Question> questions_;
  std::uint64_t next_question_ = 1;
};

}  // namespace fieldgate::http
