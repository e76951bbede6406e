// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/access.h"
#include "adapters/http/api_ports.h"
#include "adapters/http/fleet_inbox.h"
#include "adapters/http/handler.h"
#include "adapters/http/lane_desk.h"
#include "adapters/http/loop.h"
#include "adapters/http/problem.h"
#include "adapters/http/routes.h"
#include "adapters/http/sealed_cursor.h"
#include "gateway/core/fleet_index.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/lane_control.h"
#include "gateway/ports/log.h"
#include "gateway/ports/node_status.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace fieldgate::http {

// Answers the requests to the API: who may, and what.
// Thread:  the loop's, but for the answers of `live`, which may come on any.
// Borrows: everything given by reference.
// Bounds:  one question to `live` per request that waits, and its answer is given
//          up after k_live_deadline.
class ApiHandler final : public Handler {
 public:
  static constexpr std::chrono::milliseconds k_live_deadline{500};

  // Answers of `live` that come after the loop's end are dropped.
  ApiHandler(std::weak_ptr<Loop> loop, std::int64_t inactive_after_ms, const ApiPorts& ports)
      : loop_(std::move(loop)),
        live_(ports.live),
        status_(ports.status),
        clock_(ports.clock),
        log_(ports.log),
        index_(inactive_after_ms),
        lanes_(ports.status, ports.lanes, seal_, ports.clock) {}

  // Who is refused is not listened to any longer.
  BodyPlan accepts(const Request& head) override;
  void handle(const Request& request, Respond respond) override;

  void set_access(std::shared_ptr<const Access> access) { access_ = std::move(access); }
  void apply(FleetInbox::Content news);

 private:
  struct Question {
    Respond respond;
    DeviceId device;
    std::string request_id;
    bool latest;  // the telemetry alone
  };

  // nullopt: nobody that is known.
  std::optional<TokenHolder> holder(const Request& request) const;
  // What ends a request before it is looked at; nullopt: nothing does.
  std::optional<Response> refuse(const RouteInfo* route, const TokenHolder* holder, const Request& request) const;
  void audit(const Request& request, const TokenHolder& holder, const Response& response);
  void answer(Route route, const Request& request, Respond respond);
  Response list_devices(const Request& request) const;
  void ask_live(const Request& request, bool latest, Respond respond);
  // `answered`: false for a deadline that passed.
  void conclude(std::uint64_t number, bool answered, const std::optional<DeviceDetail>& detail);
  Response device_answer(const Question& question, bool answered, const DeviceDetail* detail) const;

  std::weak_ptr<Loop> loop_;
  LiveDevices& live_;
  const NodeStatus& status_;
  const Clock& clock_;
  Log& log_;
  CursorSeal seal_;
  FleetIndex index_;
  LaneDesk lanes_;
  std::shared_ptr<const Access> access_;
  std::unordered_map<std::uint64_t, Question> questions_;
  std::uint64_t next_question_ = 1;
};

// openapi.json, byte for byte.
std::string_view openapi_document() noexcept;

}  // namespace fieldgate::http
