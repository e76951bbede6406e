// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/end_reason.h"

namespace fieldgate {
namespace {

using enum EndReason;

// Close codes 4000-4999 are private use (RFC 6455 section 7.4.2).
constexpr std::array<EndReasonInfo, k_end_reasons> k_table = {{
    {handshake_budget, "handshake_budget", 0, 0},
    {sessions_max, "sessions_max", 0, 0},
    {address_sessions_max, "address_sessions_max", 0, 0},
    {handshakes_max, "handshakes_max", 0, 0},
    {descriptors, "descriptors", 0, 0},
    {memory, "memory", 0, 0},
    {proxy_protocol, "proxy_protocol", 0, 0},
    {tls_timeout, "tls_timeout", 0, 0},
    {tls_failed, "tls_failed", 0, 0},
    {certificate_rejected, "certificate_rejected", 0, 0},
    {upgrade_timeout, "upgrade_timeout", 0, 408},
    {upgrade_malformed, "upgrade_malformed", 0, 400},
    {upgrade_too_large, "upgrade_too_large", 0, 431},
    {upgrade_path, "upgrade_path", 0, 404},
    {upgrade_method, "upgrade_method", 0, 405},
    {upgrade_version, "upgrade_version", 0, 426},
    {upgrade_subprotocol, "upgrade_subprotocol", 0, 400},
    {upgrade_origin, "upgrade_origin", 0, 403},
    {unauthenticated, "unauthenticated", 0, 401},
    {hello_timeout, "hello_timeout", 4000, 0},
    {hello_invalid, "hello_invalid", 4001, 0},
    {hello_id_mismatch, "hello_id_mismatch", 4002, 0},
    {device_unknown, "device_unknown", 4003, 0},
    {device_disabled, "device_disabled", 4016, 0},
    {stream_reused, "stream_reused", 4004, 0},
    {takeover_rate, "takeover_rate", 4005, 0},
    {takeover_timeout, "takeover_timeout", 1013, 0},
    {no_epoch, "no_epoch", 1013, 0},
    {overloaded, "overloaded", 1013, 0},
    {flow_violation, "flow_violation", 4006, 0},
    {frame_rate, "frame_rate", 4007, 0},
    {byte_rate, "byte_rate", 4008, 0},
    {frame_too_large, "frame_too_large", 1009, 0},
    {assembly_timeout, "assembly_timeout", 4009, 0},
    {websocket_protocol, "websocket_protocol", 1002, 0},
    {unsupported_data, "unsupported_data", 1003, 0},
    {protocol_state, "protocol_state", 4010, 0},
    {malformed_frame, "malformed_frame", 1007, 0},
    {slow_reader, "slow_reader", 4011, 0},
    {heartbeat_lost, "heartbeat_lost", 4012, 0},
    {credential_revoked, "credential_revoked", 4013, 0},
    {taken_over, "taken_over", 4014, 0},
    {kicked, "kicked", 4015, 0},
    {drain, "drain", 1001, 0},
    {age_max, "age_max", 1001, 0},
    {internal, "internal", 1011, 0},
    {bye, "bye", 1000, 0},
    {peer_closed, "peer_closed", 0, 0},
    {unclean_close, "unclean_close", 0, 0},
    {connection_reset, "connection_reset", 0, 0},
    {node_lost, "node_lost", 0, 0},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < k_table.size(); ++i) {
    if (static_cast<std::size_t>(k_table[i].reason) != i) return false;
  }
  return true;
}
static_assert(in_order(), "one row for each EndReason, in the order of the enumerators");

}  // namespace

const EndReasonInfo& info(EndReason reason) noexcept { return k_table[static_cast<std::size_t>(reason)]; }

const std::array<EndReasonInfo, k_end_reasons>& end_reasons() noexcept { return k_table; }

}  // namespace fieldgate
