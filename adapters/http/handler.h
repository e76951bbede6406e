// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"

#include <chrono>
#include <functional>

namespace fieldgate::http {

// What answers requests.
// Thread: the server's loop only.
class Handler {
 public:
  // To be called once, on the server's loop, at once or later.
  using Respond = std::function<void(Response)>;

  virtual ~Handler() = default;
  // How the body of this request is to be taken: asked once its head is there, if it
  // has a body. A request that will be refused anyway is best refused without it.
  virtual BodyPlan accepts(const Request& head) {
    static_cast<void>(head);
    return {};
  }
  // How much longer than ServerSettings::request_timeout its answer may take.
  virtual std::chrono::milliseconds patience(const Request& request) {
    static_cast<void>(request);
    return std::chrono::milliseconds(0);
  }
  // `request` is borrowed for the call.
  virtual void handle(const Request& request, Respond respond) = 0;
};

}  // namespace fieldgate::http
