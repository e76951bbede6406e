// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"

#include <functional>

namespace fieldgate::http {

// What answers requests.
// Thread: the server's loop only.
class Handler {
 public:
  // To be called once, on the server's loop, at once or later.
  using Respond = std::function<void(Response)>;

  virtual ~Handler() = default;
  // `request` is borrowed for the call.
  virtual void handle(const Request& request, Respond respond) = 0;
};

}  // namespace fieldgate::http
