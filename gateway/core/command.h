// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

// Where a command stands. Each is a thing that happened, never a guess.
enum class CommandState : std::uint8_t {
  // In the ledger; no connection is known to have it. A step of it with an epoch says
  // that it is being handed to that connection; the next step, what came of that.
  queued,
  sent,          // handed to the device's connection of the step's epoch
  acknowledged,  // the device said CommandAck in that epoch
  succeeded,     // CommandResult, and so the next three
  failed,
  rejected,  // by the device; or the device cannot take it (the detail says so)
  // No result within its timeout, although it was sent, or may have been (the gateway
  // ended while it was being handed over): what became of it is not known.
  timed_out,
  expired,    // never sent within its time to live
  cancelled,  // by a caller before it was sent, or by the device on a caller's wish
};
inline constexpr std::size_t k_command_states = 9;
std::string_view to_string(CommandState state) noexcept;
constexpr bool is_final(CommandState state) noexcept { return state >= CommandState::succeeded; }

// True if a command may go from `from` to `to`. A repeated send is sent -> sent; that it
// is being handed to a connection, or was not taken by it, is queued -> queued. A
// result may overtake what says that it was sent; none changes a final state, but for
// a result that comes after timed_out: the truth, late.
bool may_follow(CommandState from, CommandState to) noexcept;

// One step of a command's life.
struct CommandStep {
  CommandState state = CommandState::queued;
  std::int64_t unix_ms = 0;
  Epoch epoch{};         // of the connection concerned; 0: none
  std::string detail{};  // for people, at most 1,024 bytes
  friend bool operator==(const CommandStep&, const CommandStep&) = default;
};

inline constexpr std::size_t k_command_id_bytes_max = 64;
inline constexpr std::size_t k_idempotency_key_bytes_max = 128;
inline constexpr std::size_t k_command_steps_max = 64;  // of repeats (sent or queued again) beyond it, the last is kept

// A command in the ledger.
struct CommandEntry {
  std::string id;  // made by the gateway; what the device recognises a repetition by
  DeviceId device;
  std::string name;                  // of the form of is_valid_name
  std::vector<std::byte> payload{};  // between the caller and the device
  std::int64_t created_unix_ms = 0;
  std::int64_t expires_unix_ms = 0;  // not sent for the first time at or after this
  std::uint32_t timeout_ms = 0;      // for the result, from the first time it was sent
  bool at_most_once = false;         // never sent a second time
  std::string idempotency_key{};     // of the caller, unique per device; empty: none
  std::string source{};              // "api:NAME" or "mqtt:LANE": who asked
  // MQTT request/response (MQTT 5.0 section 4.10); empty over the API.
  std::string response_topic{};
  std::string correlation_data{};

  CommandState state = CommandState::queued;
  std::vector<CommandStep> steps{};  // oldest first, at most k_command_steps_max
  std::uint32_t sends = 0;
  std::int64_t first_sent_unix_ms = 0;  // 0: not yet
  bool cancel_wanted = false;
  std::string result_text{};
  std::vector<std::byte> result_payload{};
};

}  // namespace fieldgate
