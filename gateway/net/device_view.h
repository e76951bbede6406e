// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_state.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/ids.h"
#include "gateway/ports/fleet.h"

#include <optional>

// What the rest of the process gets to see of a device's state.
namespace fieldgate::net {

// `last_end`: why it is offline, if that is known.
DeviceSummary summary_of(const DeviceState& state, bool online, Epoch epoch, std::optional<EndReason> last_end);

// As far as it is in the state: nothing of the connection.
DeviceDetail detail_of(const DeviceState& state, bool online, Epoch epoch, std::optional<EndReason> last_end);

}  // namespace fieldgate::net
