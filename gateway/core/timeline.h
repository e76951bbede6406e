// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate {

// What the flight recorder writes down of a device.
enum class TimelineKind : std::uint8_t {
  connected,     // address, tls, cipher, resumed, credential, certificate_{sha256,subject,not_after}, stage, firmware
  disconnected,  // reason, detail, duration_ms, frames
  refused,       // reason, detail, address: authenticated, but not let in
  taken_over,    // by: the address of the newer connection
  throttled,     // frames, bytes: credit after the change; reason
  rejected,      // code, text, seq: a frame; repeated ones are counted in `count`
  dropped,       // reason, count: records or downward messages that went nowhere
  command,       // id, name, state, detail: as it is asked for, and at its end
  twin,          // what (reported, desired, acknowledged), version
  registry,      // what (created, updated, disabled, enabled, credential_added ...), by
};
inline constexpr std::size_t k_timeline_kinds = 10;
std::string_view to_string(TimelineKind kind) noexcept;
std::optional<TimelineKind> timeline_kind(std::string_view name) noexcept;

using TimelineFields = std::vector<std::pair<std::string, std::string>>;

// One line of a device's timeline.
// Bounds: at most 16 fields; names are constants, values at most 256 bytes.
struct TimelineEntry {
  DeviceId device;
  TimelineKind kind = TimelineKind::connected;
  std::int64_t unix_ms = 0;
  Epoch epoch{};  // of the connection concerned; 0: none
  TimelineFields fields{};
  std::uint64_t number = 0;  // given by the store, rising per device
};

// Somebody who was turned away before it was known who it is: kept in a ring of its
// own, so that nobody can flush a device's timeline without its credential.
struct RefusalEntry {
  std::int64_t unix_ms = 0;
  std::string reason;   // name of the EndReason
  std::string address;  // IP and port
  std::string detail;   // at most 256 bytes
};

}  // namespace fieldgate
