// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/api_ports.h"
#include "adapters/http/handler.h"
#include "adapters/http/loop.h"
#include "adapters/http/routes.h"
#include "adapters/http/sealed_cursor.h"
#include "adapters/http/token_table.h"
#include "gateway/core/fleet_index.h"

#include <chrono>
#include <memory>

namespace fieldgate::http {

inline constexpr std::chrono::milliseconds k_wait_max{60'000};
inline constexpr std::size_t k_commands_on_a_page = 100;

// How long a request with that target may wait for a command's end.
std::chrono::milliseconds command_patience(const Target& target);

// Answers what concerns commands to devices. Looks at no scopes.
// Thread:  the loop's.
// Borrows: everything given by reference.
class CommandDesk {
 public:
  CommandDesk(std::weak_ptr<Loop> loop, const ApiPorts& ports, const FleetIndex& index, const CursorSeal& seal)
      : loop_(std::move(loop)), ports_(ports), index_(index), seal_(seal) {}

  // Precondition: the route is one of these, and takes the method.
  void answer(Route route, const Request& request, const TokenHolder& who, Handler::Respond respond);

 private:
  void submit(const Request& request, const TokenHolder& who, Handler::Respond respond);
  void accepted(const Commands::Accepted& accepted, std::chrono::milliseconds wait, std::string request_id,
                Handler::Respond respond);
  void list(const Request& request, Handler::Respond respond);
  void show(const Request& request, Handler::Respond respond);
  void cancel(const Request& request, const TokenHolder& who, Handler::Respond respond);

  std::weak_ptr<Loop> loop_;
  const ApiPorts& ports_;
  const FleetIndex& index_;
  const CursorSeal& seal_;
};

}  // namespace fieldgate::http
