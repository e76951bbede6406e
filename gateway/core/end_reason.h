// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fieldgate {

// Why a device connection ended or was refused: every one, exactly once, under
// exactly one of these. docs/protocol.md says what the device should do about
// each; a test holds that table against this list.
enum class EndReason : std::uint8_t {
  // Before TLS is up: the connection is reset, nothing can be said.
  handshake_budget,      // more connects than the handshake budget can serve
  sessions_max,          // all session slots in use
  address_sessions_max,  // this address has its share
  handshakes_max,        // too many handshakes at once
  descriptors,           // out of file descriptors, or nearly
  memory,                // too much memory in use
  proxy_protocol,        // no PROXY header, or not a sound one, from a trusted balancer
  tls_timeout,           // TLS not done in time
  tls_failed,            // TLS alert or garbage
  certificate_rejected,  // client certificate missing or not trusted
  // Upgrade: answered with an HTTP status.
  upgrade_timeout,
  upgrade_malformed,    // 400
  upgrade_too_large,    // 431
  upgrade_path,         // 404
  upgrade_method,       // 405
  upgrade_version,      // 426: not WebSocket version 13
  upgrade_subprotocol,  // 400
  upgrade_origin,       // 403: browsers are not devices
  unauthenticated,      // 401
  // WebSocket: answered with a close code.
  hello_timeout,
  hello_invalid,
  hello_id_mismatch,
  device_unknown,   // not in the registry, and not to be registered by itself
  device_disabled,  // in the registry, but switched off
  stream_reused,
  takeover_rate,     // this id changes hands too often
  takeover_timeout,  // the earlier connection could not be fenced in time
  no_epoch,
  overloaded,      // the uplink log is full
  flow_violation,  // more unacknowledged than granted
  frame_rate,
  byte_rate,
  frame_too_large,
  assembly_timeout,
  websocket_protocol,  // RFC 6455 violation
  unsupported_data,    // a text message
  protocol_state,      // second Hello, data before Hello, bad sequence number
  malformed_frame,     // not a protobuf DeviceFrame at all
  slow_reader,         // outbound queue full or write stalled
  heartbeat_lost,
  credential_revoked,
  taken_over,
  kicked,
  drain,
  age_max,  // connected for long enough: to spread the fleet
  internal,
  // The device's doing.
  bye,            // Bye, or Close 1000 / 1001
  peer_closed,    // Close with another code
  unclean_close,  // TCP end without Close or close_notify
  connection_reset,
  // Said of a connection of an earlier process, in presence only.
  node_lost,  // the gateway process ended without saying so
};

inline constexpr std::size_t k_end_reasons = static_cast<std::size_t>(EndReason::node_lost) + 1;

struct EndReasonInfo {
  EndReason reason;
  // snake_case, as in logs, metrics and presence.
  std::string_view name;
  // WebSocket close code (RFC 6455 section 7.4) sent to the device; 0: none.
  std::uint16_t close_code;
  // HTTP status sent instead of the upgrade; 0: none.
  std::uint16_t http_status;
};

const EndReasonInfo& info(EndReason reason) noexcept;
inline std::string_view to_string(EndReason reason) noexcept { return info(reason).name; }

// What became of the end of a connection that was held for the device's return, see Ownership.
enum class HoldEnd : std::uint8_t {
  returned,   // the device is back here
  elsewhere,  // another node has let it in
  said,       // it was not back in time, or this process stops
};
inline constexpr std::array<std::string_view, 3> k_hold_ends = {"returned", "elsewhere", "said"};

// In order of the enumerators.
const std::array<EndReasonInfo, k_end_reasons>& end_reasons() noexcept;

}  // namespace fieldgate
