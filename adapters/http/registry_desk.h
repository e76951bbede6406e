// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/api_ports.h"
#include "adapters/http/handler.h"
#include "adapters/http/loop.h"
#include "adapters/http/routes.h"
#include "adapters/http/token_table.h"
#include "gateway/core/fleet_index.h"

#include <memory>

namespace fieldgate::http {

// Answers what concerns the registry: entries, credentials, import and export; and ends
// a device's connection. Looks at no scopes.
// Thread:  the loop's.
// Borrows: everything given by reference. What it has changed it tells `index` at once,
//          so that who asks next sees it.
class RegistryDesk {
 public:
  RegistryDesk(std::weak_ptr<Loop> loop, const ApiPorts& ports, FleetIndex& index)
      : loop_(std::move(loop)), ports_(ports), index_(index) {}

  // Precondition: the route is one of these, and takes the method.
  void answer(Route route, const Request& request, const TokenHolder& who, Handler::Respond respond);

 private:
  void put(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond);
  void patch(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond);
  void remove(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond);
  void kick(const Request& request, const DeviceId& id, Handler::Respond respond);
  void list_credentials(const Request& request, const DeviceId& id, Handler::Respond respond);
  void add_credential(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond);
  void remove_credential(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond);
  Response import(const Request& request, std::string by);
  Response export_all(const Request& request);
  bool is_registered(const DeviceId& id) const;

  std::weak_ptr<Loop> loop_;
  const ApiPorts& ports_;
  FleetIndex& index_;
};

}  // namespace fieldgate::http
