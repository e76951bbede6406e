// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/control_views.h"

#include "adapters/http/json_body.h"
#include "adapters/http/json_writer.h"
#include "adapters/http/text.h"
#include "adapters/http/views.h"

#include <boost/json/parse.hpp>

#include <span>

namespace fieldgate::http {
namespace {

void add_labels(const Labels& labels, JsonWriter& json) {
  json.key("labels").begin_object();
  for (const auto& [key, value] : labels) json.field(key, value);
  json.end_object();
}

// The members, without the object around them.
void add_credential(const DeviceCredential& credential, JsonWriter& json) {
  json.field("id", credential.id).field("kind", to_string(credential.kind));
  json.key("created").time(credential.created_unix_ms);
  json.key("expires").time(credential.expires_unix_ms);
  json.field("note", credential.note).field("sha256", credential.sha256);
}

void add_next(const std::optional<std::string>& next_cursor, JsonWriter& json) {
  json.key("next_cursor");
  next_cursor ? json.value(*next_cursor) : json.null();
}

// What the bytes are as JSON, else null; and the bytes.
void add_payload(const std::vector<std::byte>& payload, JsonWriter& json) {
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  boost::json::parse_options options;
  options.max_depth = k_json_depth_max;
  boost::system::error_code ec;
  const boost::json::value value = boost::json::parse(text, ec, {}, options);
  json.key("payload");
  ec ? json.null() : json.json(compact(value));
  json.field("payload_base64", base64(payload));
}

void add_epoch(Epoch epoch, JsonWriter& json) {
  json.key("epoch");
  epoch == Epoch{} ? json.null() : json.label(epoch.value);
}

void add_steps(const CommandEntry& command, JsonWriter& json) {
  json.key("steps").begin_array();
  for (const CommandStep& step : command.steps) {
    json.begin_object().field("state", to_string(step.state));
    json.key("time").time(step.unix_ms);
    add_epoch(step.epoch, json);
    json.field("detail", step.detail).end_object();
  }
  json.end_array();
}

// Whether the device has said how it went: then there is something to show.
bool has_result(const CommandEntry& command) {
  return command.state == CommandState::succeeded || command.state == CommandState::failed ||
         command.state == CommandState::rejected || !command.result_text.empty() || !command.result_payload.empty();
}

void add_command(const CommandEntry& command, JsonWriter& json) {
  json.begin_object().field("id", command.id).field("device", command.device.str()).field("name", command.name);
  add_payload(command.payload, json);
  json.key("created").time(command.created_unix_ms);
  json.key("expires").time(command.expires_unix_ms);
  json.field("timeout_ms", command.timeout_ms)
      .field("at_most_once", command.at_most_once)
      .field("source", command.source)
      .field("state", to_string(command.state))
      .field("final", is_final(command.state))
      .field("cancel_wanted", command.cancel_wanted)
      .field("sends", command.sends);
  add_steps(command, json);
  json.key("result");
  if (has_result(command)) {
    json.begin_object().field("text", command.result_text);
    add_payload(command.result_payload, json);
    json.end_object();
  } else {
    json.null();
  }
  json.end_object();
}

// What has to be merged into `from` to make it `to` (RFC 7396).
boost::json::object merge_patch(const boost::json::object& from, const boost::json::object& to) {
  boost::json::object patch;
  for (const auto& [key, value] : from) {
    if (!to.contains(key)) patch.emplace(key, nullptr);
  }
  for (const auto& [key, value] : to) {
    const boost::json::value* known = from.if_contains(key);
    if (known != nullptr && *known == value) continue;
    if (known != nullptr && known->is_object() && value.is_object()) {
      patch.emplace(key, merge_patch(known->get_object(), value.get_object()));
    } else {
      patch.emplace(key, value);
    }
  }
  return patch;
}

}  // namespace

std::string entry_json(const DeviceEntry& entry) {
  JsonWriter json;
  json.begin_object().field("id", entry.id.str()).field("enabled", entry.enabled);
  add_labels(entry.labels, json);
  json.field("note", entry.note).field("automatic", entry.automatic);
  json.key("created").time(entry.created_unix_ms);
  json.key("updated").time(entry.updated_unix_ms);
  json.field("revision", entry.revision).end_object();
  return std::move(json).take();
}

std::string entry_line(const DeviceEntry& entry) {
  JsonWriter json;
  json.begin_object().field("id", entry.id.str()).field("enabled", entry.enabled);
  add_labels(entry.labels, json);
  json.field("note", entry.note).key("credentials").begin_array();
  for (const DeviceCredential& credential : entry.credentials) {
    json.begin_object().field("kind", to_string(credential.kind)).field("sha256", credential.sha256);
    if (credential.expires_unix_ms != 0) json.key("expires").time(credential.expires_unix_ms);
    if (!credential.note.empty()) json.field("note", credential.note);
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).take() + '\n';
}

std::string credentials_json(const DeviceEntry& entry) {
  JsonWriter json;
  json.begin_object().key("credentials").begin_array();
  for (const DeviceCredential& credential : entry.credentials) {
    json.begin_object();
    add_credential(credential, json);
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).take();
}

std::string credential_json(const DeviceCredential& credential, std::string_view token) {
  JsonWriter json;
  json.begin_object();
  add_credential(credential, json);
  if (!token.empty()) json.field("token", token);
  json.end_object();
  return std::move(json).take();
}

std::string command_json(const CommandEntry& command) {
  JsonWriter json;
  add_command(command, json);
  return std::move(json).take();
}

std::string commands_json(const std::vector<CommandEntry>& commands, const std::optional<std::string>& next_cursor) {
  JsonWriter json;
  json.begin_object().key("commands").begin_array();
  for (const CommandEntry& command : commands) add_command(command, json);
  json.end_array();
  add_next(next_cursor, json);
  json.end_object();
  return std::move(json).take();
}

std::string twin_json(const Twin& twin) {
  const Result<boost::json::object> reported = parse_object(twin.reported_json);
  const Result<boost::json::object> desired = parse_object(twin.desired_json);
  if (!reported || !desired) return {};
  JsonWriter json;
  json.begin_object().field("device", twin.device.str());
  json.key("reported").begin_object().field("version", twin.reported_version);
  json.key("time").time(twin.reported_unix_ms);
  json.key("document").json(twin.reported_json).end_object();
  json.key("desired").begin_object().field("version", twin.desired_version);
  json.key("time").time(twin.desired_unix_ms);
  json.key("document").json(twin.desired_json);
  json.field("etag", "\"d" + std::to_string(twin.desired_version) + "\"").end_object();
  json.key("acknowledged").begin_object().field("version", twin.acknowledged_version);
  json.key("time").time(twin.acknowledged_unix_ms);
  json.field("error", twin.acknowledged_error).end_object();
  json.key("delta").json(compact(merge_patch(*reported, *desired))).end_object();
  return std::move(json).take();
}

std::string timeline_json(const std::vector<TimelineEntry>& entries, const std::optional<std::string>& next_cursor) {
  JsonWriter json;
  json.begin_object().key("entries").begin_array();
  for (const TimelineEntry& entry : entries) {
    json.begin_object().field("number", entry.number);
    json.key("time").time(entry.unix_ms);
    json.field("kind", to_string(entry.kind));
    add_epoch(entry.epoch, json);
    json.key("fields").begin_object();
    for (const auto& [name, value] : entry.fields) json.field(name, value);
    json.end_object().end_object();
  }
  json.end_array();
  add_next(next_cursor, json);
  json.end_object();
  return std::move(json).take();
}

std::string presence_json(const std::vector<PresenceEvent>& events, const std::optional<std::string>& next_cursor) {
  JsonWriter json;
  json.begin_object().key("events").begin_array();
  for (const PresenceEvent& event : events) {
    json.begin_object().field("number", event.number);
    json.key("time").time(event.unix_ms);
    json.field("online", event.online);
    add_epoch(event.epoch, json);
    json.field("node", event.node).key("reason");
    event.reason.empty() ? json.null() : json.value(event.reason);
    json.end_object();
  }
  json.end_array();
  add_next(next_cursor, json);
  json.end_object();
  return std::move(json).take();
}

std::string refusals_json(const std::vector<RefusalEntry>& refusals) {
  JsonWriter json;
  json.begin_object().key("refusals").begin_array();
  for (const RefusalEntry& refusal : refusals) {
    json.begin_object().key("time").time(refusal.unix_ms);
    json.field("reason", refusal.reason).field("address", refusal.address).field("detail", refusal.detail).end_object();
  }
  json.end_array().end_object();
  return std::move(json).take();
}

}  // namespace fieldgate::http
