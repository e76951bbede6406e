// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/end_reason.h"
#include "gateway/core/ids.h"
#include "gateway/ports/wire.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fieldgate {

using DownMessage = std::variant<CommandFrame, CommandCancelFrame, DesiredFrame>;
inline constexpr std::size_t k_down_kinds = std::variant_size_v<DownMessage>;

// What became of a downward message.
enum class Delivery : std::uint8_t {
  sent,         // handed to the live connection of `epoch`; whether it arrived, only the device can say
  offline,      // no live connection here
  busy,         // its connection does not take what is there already: try again later
  too_large,    // more than the device's receive_max_bytes
  unsupported,  // the device did not say in Hello that it takes such
};
inline constexpr std::size_t k_deliveries = 5;
std::string_view to_string(Delivery delivery) noexcept;

// From the process to devices. What is sent to one device goes in the order of the calls.
// Thread: any; never waits. Answers come once, on any thread.
class Downlink {
 public:
  virtual ~Downlink() = default;
  using Answer = std::function<void(Delivery, Epoch)>;
  virtual void send(const DeviceId& id, DownMessage message, Answer answer) = 0;
  // Ends the device's connection: kicked, credential_revoked or device_disabled. The
  // answer is whether there was one.
  virtual void close(const DeviceId& id, EndReason reason, std::function<void(bool)> answer) = 0;
  // The registry or the keys have changed for these: those of their connections that
  // Authenticator::still_valid() does not hold for end with credential_revoked.
  virtual void recheck(std::vector<DeviceId> devices) = 0;
};

}  // namespace fieldgate
