// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/access.h"
#include "adapters/http/api_ports.h"
#include "adapters/http/command_desk.h"
#include "adapters/http/fleet_desk.h"
#include "adapters/http/fleet_inbox.h"
#include "adapters/http/handler.h"
#include "adapters/http/lane_desk.h"
#include "adapters/http/loop.h"
#include "adapters/http/problem.h"
#include "adapters/http/registry_desk.h"
#include "adapters/http/routes.h"
#include "adapters/http/sealed_cursor.h"
#include "adapters/http/stream_desk.h"
#include "adapters/http/timeline_desk.h"
#include "adapters/http/twin_desk.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace fieldgate::http {

// Answers the requests to the API: decides who may, writes down who changes what, and
// leaves the rest to the desk that the path belongs to.
// Thread:  the loop's; what the desks ask others for comes back to it.
// Borrows: what `ports` names.
class ApiHandler final : public Handler {
 public:
  // Answers that come after the loop's end are dropped.
  ApiHandler(const std::weak_ptr<Loop>& loop, std::int64_t inactive_after_ms, const ApiPorts& ports,
             const ApiSettings& settings = {})
      : ports_(ports),
        dashboard_(settings.dashboard),
        fleet_(loop, inactive_after_ms, ports_, seal_),
        registry_(loop, ports_, fleet_.index()),
        commands_(loop, ports_, fleet_.index(), seal_),
        twins_(loop, ports_),
        timelines_(loop, ports_, fleet_.index(), seal_),
        lanes_(ports_.status, ports_.lanes, seal_, ports_.clock),
        stream_(loop, settings.stream, ports_, fleet_.index()) {
    fleet_.tell(stream_);
  }

  // Who is refused is not listened to any longer.
  BodyPlan accepts(const Request& head) override;
  std::chrono::milliseconds patience(const Request& request) override;
  void handle(const Request& request, Respond respond) override;

  // Live streams of tokens that do not count any more end.
  void set_access(std::shared_ptr<const Access> access) {
    access_ = std::move(access);
    stream_.recheck(*access_);
  }
  void apply(FleetInbox::Content news) { fleet_.apply(std::move(news)); }

  StreamDesk& stream() noexcept { return stream_; }
  const FleetIndex& index() const noexcept { return fleet_.index(); }

 private:
  // The error says why it is nobody that is known.
  Result<TokenHolder> holder(const Request& request) const;
  // What ends a request before it is looked at; nullopt: nothing does.
  std::optional<Response> refuse(const RouteInfo* route, const TokenHolder* holder, const Request& request) const;
  // `respond`, with a line in the log about what became of a change.
  Respond audited(const Request& request, const TokenHolder& holder, Respond respond) const;
  void answer(Route route, const Request& request, const TokenHolder& who, Respond respond);
  Response show_page(const Request& request) const;
  Response show_document(const Request& request) const;
  Response show_overview(const Request& request, const TokenHolder& who) const;

  const ApiPorts ports_;
  const bool dashboard_;
  CursorSeal seal_;
  FleetDesk fleet_;
  RegistryDesk registry_;
  CommandDesk commands_;
  TwinDesk twins_;
  TimelineDesk timelines_;
  LaneDesk lanes_;
  StreamDesk stream_;
  std::shared_ptr<const Access> access_;
};

// openapi.json, byte for byte.
std::string_view openapi_document() noexcept;

}  // namespace fieldgate::http
