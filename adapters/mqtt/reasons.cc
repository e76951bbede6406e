// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/reasons.h"

#include <algorithm>
#include <array>

namespace fieldgate::mqtt {
namespace {

struct Reason {
  std::uint8_t code;
  std::string_view name;
  std::string_view advice;
};

constexpr std::string_view k_other_broker = "set the lane's host to the broker that is meant";
constexpr std::string_view k_wait = "the broker will have to recover; retrying";

constexpr std::array k_reasons = std::to_array<Reason>({
    {0x00, "success", ""},
    {0x10, "no matching subscribers", ""},
    {k_unspecified_error, "unspecified error", "see the broker's log"},
    {0x81, "malformed packet", "see the broker's log"},
    {0x82, "protocol error", "see the broker's log"},
    {0x83, "implementation specific error", "see the broker's log"},
    {0x84, "unsupported protocol version", "the broker must speak MQTT v5"},
    {0x85, "client identifier not valid", "set another client_id"},
    {0x86, "bad user name or password", "check username, password and password_file, or the broker's accounts"},
    {0x87, "not authorized", "grant this client access in the broker's ACL"},
    {0x88, "server unavailable", k_wait},
    {0x89, "server busy", k_wait},
    {0x8A, "banned", "lift the ban at the broker"},
    {0x8B, "server shutting down", k_wait},
    {0x8C, "bad authentication method", "the broker must accept username and password, or certificates"},
    {0x8D, "keep alive timeout", "the network lost our pings; check it, or raise keep_alive"},
    {0x8E, "session taken over", "another process uses the same client_id: give each lane and node its own"},
    {0x8F, "topic filter invalid", "check topic_prefix"},
    {k_topic_name_invalid, "topic name invalid", "check topic_prefix"},
    {0x91, "packet identifier in use", "see the broker's log"},
    {0x93, "receive maximum exceeded", "see the broker's log"},
    {k_packet_too_large, "packet too large", "raise the broker's packet size limit, or lower batch_bytes_max"},
    {0x96, "message rate too high", "raise the broker's rate limit"},
    {0x97, "quota exceeded", "raise the broker's quota for this client"},
    {0x98, "administrative action", "ask the broker's administrator"},
    {k_payload_format_invalid, "payload format invalid", "the broker refuses our payloads; see its log"},
    {0x9A, "retain not supported", "allow retained messages at the broker"},
    {0x9B, "QoS not supported", "the broker must accept QoS 1"},
    {0x9C, "use another server", k_other_broker},
    {0x9D, "server moved", k_other_broker},
    {0x9F, "connection rate exceeded", k_wait},
});

const Reason* find(std::uint8_t code) noexcept {
  const auto* it = std::ranges::find(k_reasons, code, &Reason::code);
  return it == k_reasons.end() ? nullptr : it;
}

}  // namespace

std::string_view reason_name(std::uint8_t code) noexcept {
  const Reason* reason = find(code);
  return reason == nullptr ? "unknown reason" : reason->name;
}

std::string_view advice(std::uint8_t code) noexcept {
  const Reason* reason = find(code);
  return reason == nullptr ? "see the broker's log" : reason->advice;
}

std::string describe_refusal(std::uint8_t code) {
  static constexpr char k_hex[] = "0123456789abcdef";
  std::string text(reason_name(code));
  text.append(" (0x").append({k_hex[code >> 4], k_hex[code & 15]}).append("): ").append(advice(code));
  return text;
}

Refusal classify_refusal(std::uint8_t code) noexcept {
  switch (code) {
    case k_topic_name_invalid:
    case k_packet_too_large:
    case k_payload_format_invalid: return Refusal::of_message;
    default: return Refusal::of_lane;
  }
}

}  // namespace fieldgate::mqtt
