// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// MQTT v5 reason codes (OASIS MQTT 5.0, section 2.4), as far as a broker may
// send them to us.
namespace fieldgate::mqtt {

inline constexpr std::uint8_t k_unspecified_error = 0x80;
inline constexpr std::uint8_t k_topic_name_invalid = 0x90;
inline constexpr std::uint8_t k_packet_too_large = 0x95;
inline constexpr std::uint8_t k_payload_format_invalid = 0x99;

// The standard's name; "unknown reason" for a code it has not.
std::string_view reason_name(std::uint8_t code) noexcept;

// What an operator should do about a refusal, or about a broker's DISCONNECT.
std::string_view advice(std::uint8_t code) noexcept;

// "NAME (0xNN): ADVICE", for status and log.
std::string describe_refusal(std::uint8_t code);

// What a refused PUBLISH means.
enum class Refusal : std::uint8_t {
  of_message,  // never to be taken: split the batch, dead-letter the offender
  of_lane,     // not now or not to us: keep everything, pause, try again
};
// Precondition: code >= 0x80. A code that is not known pauses: nothing is lost by it.
Refusal classify_refusal(std::uint8_t code) noexcept;

}  // namespace fieldgate::mqtt
