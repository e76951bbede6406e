// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_events.h"

#include "adapters/http/json_writer.h"

#include <utility>

namespace fieldgate::http {
namespace {

void add_labels(const Labels& labels, JsonWriter& json) {
  json.key("labels").begin_object();
  for (const auto& [key, value] : labels) json.field(key, value);
  json.end_object();
}

}  // namespace

std::string presence_event_json(const DeviceSummary& device) {
  JsonWriter json;
  json.begin_object().field("device", device.id.str()).field("online", device.online);
  json.key("epoch").label(device.epoch.value);
  json.key("time").time(device.since_unix_ms);
  json.field("node", device.node).key("reason");
  device.online || device.reason.empty() ? json.null() : json.value(device.reason);
  json.field("firmware", device.firmware).end_object();
  return std::move(json).take();
}

std::string command_event_json(const CommandEntry& command) {
  JsonWriter json;
  json.begin_object()
      .field("device", command.device.str())
      .field("id", command.id)
      .field("name", command.name)
      .field("state", to_string(command.state))
      .field("final", is_final(command.state))
      .field("cancel_wanted", command.cancel_wanted)
      .field("sends", command.sends)
      .field("source", command.source);
  const CommandStep step = command.steps.empty() ? CommandStep{} : command.steps.back();
  json.key("time").time(step.unix_ms);
  json.key("epoch");
  step.epoch.value == 0 ? json.null() : json.label(step.epoch.value);
  json.field("detail", step.detail).field("result_text", command.result_text).end_object();
  return std::move(json).take();
}

std::string twin_event_json(const Twin& twin) {
  JsonWriter json;
  json.begin_object().field("device", twin.device.str());
  json.field("reported_version", twin.reported_version)
      .field("desired_version", twin.desired_version)
      .field("acknowledged_version", twin.acknowledged_version)
      .field("acknowledged_error", twin.acknowledged_error)
      .end_object();
  return std::move(json).take();
}

std::string registry_event_json(const RegistryChange& change) {
  JsonWriter json;
  json.begin_object()
      .field("device", change.id.str())
      .field("registered", change.entry.has_value())
      .field("revision", change.revision);
  json.key("enabled");
  change.entry ? json.value(change.entry->enabled) : json.null();
  add_labels(change.entry ? change.entry->labels : Labels{}, json);
  json.end_object();
  return std::move(json).take();
}

}  // namespace fieldgate::http
