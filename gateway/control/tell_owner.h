// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/links.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/ids.h"

#include <functional>
#include <string_view>

namespace fieldgate::control {

// Tells the node that a device is connected to, as far as the store knows, to look at
// that device; `kind` is one of Peers. `nowhere` is called if it is connected to none, or
// to this one; on the store's thread, as it must be called there.
// Borrows: worker and links, until the worker's stop().
void tell_owner(StoreWorker& worker, const ControlLinks& links, std::string_view kind, const DeviceId& device,
                std::function<void()> nowhere);

}  // namespace fieldgate::control
