// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/presence_json.h"

#include "adapters/northbound/json_text.h"

#include <boost/json/parse.hpp>

#include <charconv>

namespace fieldgate::mqtt {

using northbound::append_json_key;
using northbound::append_json_string;
using northbound::append_number;
namespace {

// A small object that holds nothing nested; nullopt for all else.
std::optional<boost::json::object> parse_flat(std::string_view payload) {
  if (payload.empty() || payload.size() > k_retained_bytes_max) return std::nullopt;
  boost::json::parse_options options;
  options.max_depth = 2;
  boost::system::error_code error;
  auto value = boost::json::parse(payload, error, {}, options);
  if (error || !value.is_object()) return std::nullopt;
  return std::move(value.as_object());
}

std::optional<std::string> name_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  const std::string_view text = value->get_string();
  if (!is_valid_name(text)) return std::nullopt;
  return std::string(text);
}

std::optional<bool> bool_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_bool()) return std::nullopt;
  return value->get_bool();
}

std::optional<std::int64_t> int_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  return value->get_int64();
}

std::optional<Epoch> epoch_of(const boost::json::object& object) {
  const auto* value = object.if_contains("epoch");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  const std::string_view text = value->get_string();
  Epoch epoch;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch.value);
  if (error != std::errc() || end != text.data() + text.size() || epoch.value > k_epoch_max) return std::nullopt;
  return epoch;
}

void append_common(std::string_view node, std::string_view boot_id, std::int64_t since_ms, std::string& out) {
  append_json_key("node", out);
  append_json_string(node, out);
  append_json_key("boot_id", out);
  append_json_string(boot_id, out);
  append_json_key("since_ms", out);
  append_number(since_ms, out);
}

void append_text(std::string_view key, std::string_view text, std::string& out) {
  if (text.empty()) return;
  append_json_key(key, out);
  append_json_string(text, out);
}

}  // namespace

std::string write_presence(const PresenceState& state, std::string_view node, std::string_view boot_id) {
  std::string out = state.online ? "{\"online\":true" : "{\"online\":false";
  append_json_key("epoch", out);
  out.push_back('"');
  append_number(state.epoch.value, out);
  out.push_back('"');
  append_common(node, boot_id, state.since_unix_ms, out);
  if (!state.online) append_text("reason", state.reason, out);
  out.push_back('}');
  return out;
}

std::optional<RetainedPresence> parse_presence(std::string_view payload) {
  const auto object = parse_flat(payload);
  if (!object) return std::nullopt;
  const auto online = bool_of(*object, "online");
  const auto epoch = epoch_of(*object);
  auto node = name_of(*object, "node");
  auto boot_id = name_of(*object, "boot_id");
  const auto since = int_of(*object, "since_ms");
  if (!online || !epoch || !node || !boot_id || !since) return std::nullopt;
  return RetainedPresence{*online, *epoch, *std::move(node), *std::move(boot_id), *since};
}

std::string write_node_state(const NodeState& state) {
  std::string out = state.online ? "{\"online\":true" : "{\"online\":false";
  append_common(state.node, state.boot_id, state.since_unix_ms, out);
  append_text("version", state.version, out);
  append_text("reason", state.reason, out);
  out.push_back('}');
  return out;
}

std::optional<NodeState> parse_node_state(std::string_view payload) {
  const auto object = parse_flat(payload);
  if (!object) return std::nullopt;
  const auto online = bool_of(*object, "online");
  auto node = name_of(*object, "node");
  auto boot_id = name_of(*object, "boot_id");
  const auto since = int_of(*object, "since_ms");
  if (!online || !node || !boot_id || !since) return std::nullopt;
  return NodeState{*online, *std::move(node), *std::move(boot_id), *since, {}, {}};
}

}  // namespace fieldgate::mqtt
