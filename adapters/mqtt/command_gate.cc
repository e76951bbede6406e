// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/command_gate.h"

#include "adapters/northbound/json_text.h"
#include "gateway/core/hex.h"

#include <mosquitto.h>
#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

namespace fieldgate::mqtt {
namespace {

namespace json = boost::json;

std::string base64(std::span<const std::byte> bytes) {
  std::string quoted;
  northbound::append_json_base64({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, quoted);
  return quoted.substr(1, quoted.size() - 2);
}

Message make_reply(const std::string& topic, const std::string& correlation, const json::object& body) {
  Message message;
  message.kind = MessageKind::reply;
  message.format = PayloadFormat::json;
  message.topic = topic;
  message.correlation_data = correlation;
  message.payload = json::serialize(body);
  return message;
}

// Boost.JSON reads 1e999 as infinity, and would write it as what is no JSON.
bool is_finite(const json::value& value) {
  if (const double* number = value.if_double()) return std::isfinite(*number);
  if (const json::array* items = value.if_array()) return std::all_of(items->begin(), items->end(), is_finite);
  const json::object* members = value.if_object();
  return members == nullptr ||
         std::all_of(members->begin(), members->end(), [](const auto& member) { return is_finite(member.value()); });
}

// The result's bytes: as JSON where they are JSON, and always as base64.
json::object result_of(const CommandEntry& command) {
  json::object result{{"text", command.result_text}};
  const std::string_view bytes(reinterpret_cast<const char*>(command.result_payload.data()),
                               command.result_payload.size());
  json::error_code error;
  json::value value = json::parse(bytes, error);
  result["payload"] = error || !is_finite(value) ? json::value() : std::move(value);
  result["payload_base64"] = base64(command.result_payload);
  return result;
}

bool is_utf8_text(std::string_view text) {
  return mosquitto_validate_utf8(text.data(), static_cast<int>(text.size())) == MOSQ_ERR_SUCCESS;
}

}  // namespace

CommandGate::CommandGate(const MqttLaneSettings& settings, const Topics& topics)
    : source_("mqtt:" + settings.name),
      prefix_(settings.topic_prefix + "/"),
      response_filters_(settings.response_topics),
      topics_(topics) {}

bool CommandGate::may_reply_to(const std::string& topic) const {
  if (topic.empty() || topic.size() > k_topic_bytes_max || topic.front() == '$' || topic.starts_with(prefix_) ||
      topic.find_first_of("+#") != std::string::npos || topic.find('\0') != std::string::npos || !is_utf8_text(topic)) {
    return false;
  }
  for (const std::string& filter : response_filters_) {
    bool matches = false;
    if (mosquitto_topic_matches_sub(filter.c_str(), topic.c_str(), &matches) == MOSQ_ERR_SUCCESS && matches)
      return true;
  }
  return false;
}

RequestRefused CommandGate::refusal(const CommandRequest& request, std::string code, std::string detail) const {
  RequestRefused refused{std::move(code), std::move(detail), std::nullopt};
  if (request.response_topic.empty()) return refused;
  refused.reply = make_reply(request.response_topic, request.correlation_data,
                             {{"device", request.device.str()},
                              {"command", request.name},
                              {"id", nullptr},
                              {"state", "refused"},
                              {"code", refused.code},
                              {"detail", refused.detail}});
  return refused;
}

std::optional<std::variant<CommandRequest, RequestRefused>> CommandGate::read(const Incoming& message) const {
  const auto address = topics_.parse_command(message.topic);
  if (!address) return std::nullopt;
  CommandRequest request{address->device, address->name, {}, {}, {}, false, {}, source_, {}, {}};
  if (message.retained) {
    // Somebody's mistake, long ago: to carry it out now, and again at each connect, would be another.
    return RequestRefused{
        "retained", "a retained command is never carried out: clear it, and publish without retain", {}};
  }
  if (auto refused = take_properties(message, request)) return std::move(*refused);
  const auto bytes = std::as_bytes(std::span(message.payload));
  request.payload.assign(bytes.begin(), bytes.end());
  return request;
}

std::optional<RequestRefused> CommandGate::take_properties(const Incoming& message, CommandRequest& request) const {
  if (message.correlation_data.size() <= k_correlation_bytes_max) request.correlation_data = message.correlation_data;
  if (!message.response_topic.empty()) {
    if (!may_reply_to(message.response_topic)) {
      return refusal(request, "response_topic",
                     "the Response Topic matches none of the lane's response_topics, or is inside its prefix");
    }
    request.response_topic = message.response_topic;
  }
  if (message.correlation_data.empty() || message.correlation_data.size() > k_correlation_bytes_max) {
    return refusal(request, "correlation_data",
                   "a request needs Correlation Data of 1 to 60 bytes: what a repetition is recognised by");
  }
  request.idempotency_key = "mqtt:" + to_hex(message.correlation_data);
  if (message.expiry_seconds) request.ttl = std::chrono::seconds(*message.expiry_seconds);
  for (const auto& [name, value] : message.user_properties) {
    if (name == "at_most_once") {
      if (value != "true" && value != "false") return refusal(request, "at_most_once", "must be true or false");
      request.at_most_once = value == "true";
    } else if (name == "timeout_ms") {
      std::uint32_t ms = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ms);
      if (error != std::errc() || end != value.data() + value.size() || ms == 0) {
        return refusal(request, "timeout_ms", "must be a number of milliseconds, 1 to 4294967295");
      }
      request.timeout = std::chrono::milliseconds(ms);
    }
  }
  return std::nullopt;
}

Message CommandGate::reply(const CommandEntry& command) const {
  const CommandStep none;
  const CommandStep& last = command.steps.empty() ? none : command.steps.back();
  json::object body{{"device", command.device.str()},
                    {"command", command.name},
                    {"id", command.id},
                    {"state", to_string(command.state)},
                    {"final", is_final(command.state)},
                    {"time_ms", last.unix_ms},
                    {"epoch", last.epoch.value == 0 ? json::value() : json::value(std::to_string(last.epoch.value))},
                    {"detail", last.detail}};
  body["result"] = is_final(command.state) ? json::value(result_of(command)) : json::value();
  return make_reply(command.response_topic, command.correlation_data, body);
}

RequestRefused CommandGate::refused(const CommandRequest& request, const Error& error) const {
  const auto is = [&](Errc code) { return error.code == make_error_code(code); };
  const char* code = is(Errc::not_found)     ? "device_not_found"
                     : is(Errc::full)        ? "queue_full"
                     : is(Errc::conflict)    ? "correlation_data_reused"
                     : is(Errc::too_large)   ? "too_large"
                     : is(Errc::unavailable) ? "store_unavailable"
                                             : "invalid";
  return refusal(request, code, error.detail);
}

// --- replies on their way

std::size_t ReplyQueue::push(Message reply) {
  bytes_ += reply.payload.size();
  replies_.push_back(std::move(reply));
  std::size_t dropped = 0;
  while (replies_.size() > k_replies_max || (bytes_ > k_bytes_max && replies_.size() > 1)) {
    bytes_ -= replies_.front().payload.size();
    replies_.pop_front();
    ++dropped;
  }
  return dropped;
}

void ReplyQueue::push_front(Message reply) {
  bytes_ += reply.payload.size();
  replies_.push_front(std::move(reply));
}

std::optional<Message> ReplyQueue::take() {
  if (replies_.empty()) return std::nullopt;
  Message reply = std::move(replies_.front());
  replies_.pop_front();
  bytes_ -= reply.payload.size();
  return reply;
}

}  // namespace fieldgate::mqtt
