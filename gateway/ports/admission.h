// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_state.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/ids.h"

#include <functional>
#include <optional>
#include <string>
#include <variant>

namespace fieldgate {

// What a device that is let in gets.
struct Admitted {
  Epoch epoch;
  Labels labels{};  // the registry's, sorted by key: they win over the device's own
};
// Or why not: device_unknown, device_disabled, taken_over (renew() alone), or no_epoch (the
// store does not answer).
using AdmissionOutcome = std::variant<Admitted, EndReason>;

// Lets devices in that have said who they are: decides whether the registry knows
// them, and gives each connection its epoch.
// Thread: any; never waits. The answer comes once, on any thread, perhaps before
// admit() returns: post it where it belongs. Epochs of one device rise in the order
// of its calls, and so do their answers come.
// Bounds: beyond what may wait it answers no_epoch at once.
class Admission {
 public:
  virtual ~Admission() = default;
  using Answer = std::function<void(AdmissionOutcome)>;
  virtual void admit(const DeviceId& id, const DeviceProfile& profile, Answer answer) = 0;
  // The same for a connection that goes on, whose epoch was `lost`: what is known of the
  // device's profile stays. taken_over: the presence log has a later connection, and that stays.
  virtual void renew(const DeviceId& id, Epoch lost, Answer answer) = 0;
};

}  // namespace fieldgate
