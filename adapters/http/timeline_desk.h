// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/api_ports.h"
#include "adapters/http/handler.h"
#include "adapters/http/loop.h"
#include "adapters/http/routes.h"
#include "adapters/http/sealed_cursor.h"
#include "gateway/core/fleet_index.h"

#include <cstddef>
#include <memory>

namespace fieldgate::http {

inline constexpr std::size_t k_timeline_page = 500;  // entries, events or refusals at most

// Answers what has happened to a device, and who was turned away.
// Thread:  the loop's.
// Borrows: everything given by reference.
class TimelineDesk {
 public:
  TimelineDesk(std::weak_ptr<Loop> loop, const ApiPorts& ports, const FleetIndex& index, const CursorSeal& seal)
      : loop_(std::move(loop)), ports_(ports), index_(index), seal_(seal) {}

  // Precondition: the route is timeline, presence or refusals.
  void answer(Route route, const Request& request, Handler::Respond respond);

 private:
  void list_timeline(const Request& request, Handler::Respond respond);
  void list_presence(const Request& request, Handler::Respond respond);
  Response list_refusals(const Request& request);

  std::weak_ptr<Loop> loop_;
  const ApiPorts& ports_;
  const FleetIndex& index_;
  const CursorSeal& seal_;
};

}  // namespace fieldgate::http
