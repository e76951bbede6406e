// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/api_ports.h"
#include "adapters/http/handler.h"
#include "adapters/http/loop.h"
#include "adapters/http/routes.h"
#include "adapters/http/token_table.h"

#include <memory>

namespace fieldgate::http {

// Answers what concerns twins. Looks at no scopes.
// Thread:  the loop's.
// Borrows: everything given by reference.
class TwinDesk {
 public:
  TwinDesk(std::weak_ptr<Loop> loop, const ApiPorts& ports) : loop_(std::move(loop)), ports_(ports) {}

  // Precondition: the route is one of these, and takes the method.
  void answer(Route route, const Request& request, const TokenHolder& who, Handler::Respond respond);

 private:
  void set_desired(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond);

  std::weak_ptr<Loop> loop_;
  const ApiPorts& ports_;
};

}  // namespace fieldgate::http
