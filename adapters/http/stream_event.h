// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fieldgate::http {

// What the live stream tells, by the names that `kinds` and `event` use.
enum class StreamKind : std::uint8_t { presence, command, lane, twin, registry, telemetry, event, state, opaque };
inline constexpr std::array<std::string_view, 9> k_stream_kinds = {"presence",  "command", "lane",  "twin",  "registry",
                                                                   "telemetry", "event",   "state", "opaque"};
constexpr std::string_view to_string(StreamKind kind) noexcept {
  return k_stream_kinds[static_cast<std::size_t>(kind)];
}
// What devices send, as it comes: only for devices that are named.
constexpr bool is_record(StreamKind kind) noexcept { return kind >= StreamKind::telemetry; }

using StreamKinds = std::uint32_t;  // bit n is StreamKind n
constexpr StreamKinds bit(StreamKind kind) noexcept { return StreamKinds{1} << static_cast<unsigned>(kind); }
inline constexpr StreamKinds k_default_kinds =
    bit(StreamKind::presence) | bit(StreamKind::command) | bit(StreamKind::lane);
inline constexpr StreamKinds k_record_stream_kinds =
    bit(StreamKind::telemetry) | bit(StreamKind::event) | bit(StreamKind::state) | bit(StreamKind::opaque);

// One event, written once for all who get it. Immutable.
struct StreamEvent {
  StreamKind kind = StreamKind::presence;
  std::uint64_t number = 0;  // rises by one with every event of this process
  std::string device;        // empty: of none
  std::string text;          // as it is sent: id, event and data lines, and the empty one
};
using StreamEventPtr = std::shared_ptr<const StreamEvent>;

}  // namespace fieldgate::http
