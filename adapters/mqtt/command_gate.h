// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/link.h"
#include "adapters/mqtt/message.h"
#include "adapters/mqtt/topics.h"
#include "gateway/core/settings.h"
#include "gateway/ports/control.h"

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace fieldgate::mqtt {

// Why a request was not taken, as the reply's `code` says it.
struct RequestRefused {
  std::string code;    // snake_case
  std::string detail;  // what is wrong and what to do
  // nullopt: nobody can be told, for it says no Response Topic that may be written to.
  std::optional<Message> reply;
};

// Reads commands that come as MQTT 5 requests (MQTT 5.0 section 4.10) on
// {prefix}/devices/{device}/commands/{name}, and writes the replies:
//   - the payload is the command's; Correlation Data is mandatory and, per device,
//     the idempotency key; Message Expiry is the time to live
//   - user properties: timeout_ms, at_most_once (true or false)
//   - replies are JSON, with the request's Correlation Data
// Thread: any; immutable.
class CommandGate {
 public:
  static constexpr std::size_t k_correlation_bytes_max = 60;  // twice that, in hex, is the idempotency key
  static constexpr std::size_t k_topic_bytes_max = 512;

  CommandGate(const MqttLaneSettings& settings, const Topics& topics);

  // $share/fieldgate/{prefix}/devices/+/commands/+
  std::string subscription() const { return "$share/fieldgate/" + topics_.command_filter(); }

  // nullopt: not a command's topic at all, or one without a payload that was retained.
  std::optional<std::variant<CommandRequest, RequestRefused>> read(const Incoming& message) const;

  // Where the command stands. Precondition: it has a response topic.
  Message reply(const CommandEntry& command) const;
  // `request` got no place in the ledger.
  RequestRefused refused(const CommandRequest& request, const Error& error) const;

 private:
  bool may_reply_to(const std::string& topic) const;
  std::optional<RequestRefused> take_properties(const Incoming& message, CommandRequest& request) const;
  RequestRefused refusal(const CommandRequest& request, std::string code, std::string detail) const;

  std::string source_;  // "mqtt:LANE"
  std::string prefix_;  // with a slash at its end
  std::vector<std::string> response_filters_;
  const Topics& topics_;
};

// Replies that wait for their turn. What does not fit pushes out the oldest.
// Thread: one. Bounds: replies_max, bytes_max.
class ReplyQueue {
 public:
  static constexpr std::size_t k_replies_max = 10'000;
  static constexpr std::size_t k_bytes_max = 16'777'216;

  // How many had to go for it.
  std::size_t push(Message reply);
  // Sent before, but not known to have arrived.
  void push_front(Message reply);
  std::optional<Message> take();
  bool empty() const noexcept { return replies_.empty(); }

 private:
  std::deque<Message> replies_;
  std::size_t bytes_ = 0;
};

}  // namespace fieldgate::mqtt
