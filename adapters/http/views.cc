// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/views.h"

#include "adapters/http/json_writer.h"
#include "adapters/http/text.h"

#include <array>

namespace fieldgate::http {
namespace {

struct Field {
  std::string_view name;
  void (*write)(const FleetDevice& device, JsonWriter& json);
};

void add_labels(const Labels& labels, JsonWriter& json) {
  json.begin_object();
  for (const auto& [key, value] : labels) json.field(key, value);
  json.end_object();
}

void add_text_or_null(std::string_view text, JsonWriter& json) { text.empty() ? json.null() : json.value(text); }

// A device's members in lists, in this order.
constexpr std::array<Field, k_device_fields> k_fields = {{
    {"id", [](const FleetDevice& d, JsonWriter& json) { json.value(d.id.str()); }},
    {"online", [](const FleetDevice& d, JsonWriter& json) { json.value(d.online); }},
    {"inactive", [](const FleetDevice& d, JsonWriter& json) { json.value(d.inactive); }},
    {"registered", [](const FleetDevice& d, JsonWriter& json) { json.value(d.registry != nullptr); }},
    {"enabled", [](const FleetDevice& d,
                   JsonWriter& json) { d.registry == nullptr ? json.null() : json.value(d.registry->enabled); }},
    {"epoch",
     [](const FleetDevice& d, JsonWriter& json) { d.epoch == Epoch{} ? json.null() : json.label(d.epoch.value); }},
    {"since", [](const FleetDevice& d, JsonWriter& json) { json.time(d.since_unix_ms); }},
    {"last_seen", [](const FleetDevice& d, JsonWriter& json) { json.time(d.last_seen_unix_ms); }},
    {"last_data", [](const FleetDevice& d, JsonWriter& json) { json.time(d.last_data_unix_ms); }},
    {"firmware", [](const FleetDevice& d, JsonWriter& json) { json.value(d.firmware); }},
    {"labels", [](const FleetDevice& d, JsonWriter& json) { add_labels(d.labels, json); }},
    {"note", [](const FleetDevice& d, JsonWriter& json) { json.value(d.note); }},
    {"node", [](const FleetDevice& d, JsonWriter& json) { add_text_or_null(d.node, json); }},
    {"reason", [](const FleetDevice& d, JsonWriter& json) { add_text_or_null(d.reason, json); }},
}};
static_assert(k_all_device_fields == (1U << k_fields.size()) - 1);

// The object stays open.
void add_summary(const FleetDevice& device, std::uint32_t fields, JsonWriter& json) {
  for (std::size_t i = 0; i < k_fields.size(); ++i) {
    if ((fields >> i & 1U) == 0) continue;
    json.key(k_fields[i].name);
    k_fields[i].write(device, json);
  }
}

void add_registry(const FleetDevice& device, JsonWriter& json) {
  if (device.registry == nullptr) {
    json.null();
    return;
  }
  const RegistryFacts& facts = *device.registry;
  json.begin_object().field("enabled", facts.enabled).key("labels");
  add_labels(device.registry_labels, json);
  json.field("note", device.note).field("automatic", facts.automatic);
  json.key("created").time(facts.created_unix_ms);
  json.key("updated").time(facts.updated_unix_ms);
  json.field("revision", facts.revision)
      .field("etag", revision_tag(facts.revision))
      .field("credentials", facts.credentials)
      .end_object();
}

void add_live(const DeviceDetail& detail, JsonWriter& json) {
  json.begin_object().field("address", detail.address);
  json.key("tls");
  if (detail.tls_version.empty()) {
    json.null();
  } else {
    json.begin_object()
        .field("version", detail.tls_version)
        .field("cipher", detail.tls_cipher)
        .field("resumed", detail.tls_resumed)
        .end_object();
  }
  json.field("credential", detail.credential)
      .field("ack_stage", detail.ack_stage)
      .field("heartbeat_seconds", detail.heartbeat_seconds)
      .field("frames_received", detail.frames_received)
      .field("bytes_received", detail.bytes_received)
      .field("unacked_frames", detail.unacked_frames)
      .field("credit_frames", detail.credit_frames)
      .end_object();
}

void add_streams(const DeviceDetail& detail, JsonWriter& json) {
  json.begin_array();
  for (const DeviceDetail::Stream& stream : detail.streams) {
    json.begin_object();
    json.key("id").label(stream.id.value);
    json.key("received_through").label(stream.received_through.value);
    json.key("forwarded_through").label(stream.forwarded_through.value);
    json.field("gaps", stream.gaps).field("duplicates", stream.duplicates).end_object();
  }
  json.end_array();
}

struct ValueWriter {
  JsonWriter& json;
  void operator()(double v) const { json.field("type", "double").field("value", v); }
  void operator()(std::int64_t v) const { json.field("type", "int").field("value", v); }
  void operator()(bool v) const { json.field("type", "bool").field("value", v); }
  void operator()(const std::string& v) const { json.field("type", "string").field("value", v); }
  void operator()(const std::vector<std::byte>& v) const { json.field("type", "bytes").field("value", base64(v)); }
};

void add_last_values(const DeviceDetail& detail, JsonWriter& json) {
  json.begin_array();
  for (const LastValue& last : detail.last_values) {
    json.begin_object().field("name", last.name);
    std::visit(ValueWriter{json}, last.value);
    json.key("time").time(last.unix_ms);
    json.field("quality", last.quality).end_object();
  }
  json.end_array();
}

void add_readiness(const Readiness& readiness, JsonWriter& json) {
  json.field("ready", readiness.ready).key("reasons").begin_array();
  for (const Readiness::Reason& reason : readiness.reasons) {
    json.begin_object()
        .field("name", reason.name)
        .field("text", reason.text)
        .field("blocks", reason.blocks)
        .end_object();
  }
  json.end_array();
}

}  // namespace

std::optional<std::uint32_t> device_field(std::string_view name) noexcept {
  for (std::size_t i = 0; i < k_fields.size(); ++i) {
    if (k_fields[i].name == name) return 1U << i;
  }
  return std::nullopt;
}

std::string revision_tag(std::uint64_t revision) { return "\"r" + std::to_string(revision) + "\""; }

std::string devices_json(const FleetPage& page, std::uint32_t fields, const std::optional<std::string>& next_cursor,
                         bool explain, std::optional<std::int64_t> as_of_unix_ms) {
  JsonWriter json;
  json.begin_object().key("devices").begin_array();
  for (const FleetDevice& device : page.devices) {
    json.begin_object();
    add_summary(device, fields, json);
    json.end_object();
  }
  json.end_array().key("next_cursor");
  next_cursor ? json.value(*next_cursor) : json.null();
  if (page.count) json.field("count", *page.count);
  if (as_of_unix_ms) json.key("as_of").time(*as_of_unix_ms);
  if (explain) {
    json.key("plan")
        .begin_object()
        .field("path", page.plan.path)
        .field("walked", page.plan.walked)
        .field("scanned", page.plan.scanned)
        .field("matched", page.plan.matched)
        .end_object();
  }
  json.end_object();
  return std::move(json).take();
}

std::string device_line(const FleetDevice& device, std::uint32_t fields) {
  JsonWriter json;
  json.begin_object();
  add_summary(device, fields, json);
  json.end_object();
  return std::move(json).take() + '\n';
}

std::string device_json(const FleetDevice& device, const DeviceDetail* detail) {
  JsonWriter json;
  json.begin_object();
  add_summary(device, k_all_device_fields, json);
  const bool reconnecting = detail != nullptr && detail->reconnecting && device.online;
  json.field("reconnecting", reconnecting).key("registry");
  add_registry(device, json);
  json.key("live");
  if (detail != nullptr && device.online && !reconnecting) {
    add_live(*detail, json);
  } else {
    json.null();
  }
  json.key("streams");
  detail != nullptr ? add_streams(*detail, json) : static_cast<void>(json.null());
  json.key("last_values");
  detail != nullptr ? add_last_values(*detail, json) : static_cast<void>(json.null());
  json.field("truncated", detail != nullptr && detail->truncated).end_object();
  return std::move(json).take();
}

std::string latest_json(const FleetDevice& device, const DeviceDetail* detail) {
  JsonWriter json;
  json.begin_object().field("id", device.id.str()).field("online", device.online);
  json.key("last_data").time(device.last_data_unix_ms);
  json.key("last_values");
  detail != nullptr ? add_last_values(*detail, json) : static_cast<void>(json.begin_array().end_array());
  json.field("truncated", detail != nullptr && detail->truncated).end_object();
  return std::move(json).take();
}

std::string nodes_json(const NodeInfo& node, const Readiness& readiness, const std::vector<NodeRow>* known,
                       const std::map<std::string, std::size_t>& online) {
  JsonWriter json;
  json.begin_object().key("nodes").begin_array().begin_object();
  json.field("name", node.name).field("boot_id", node.boot_id).field("version", node.version);
  json.key("started").time(node.started_unix_ms);
  json.field("shards", node.shards).field("sessions", node.sessions);
  add_readiness(readiness, json);
  json.end_object().end_array().key("known");
  if (known == nullptr) {
    json.null();
  } else {
    json.begin_array();
    for (const NodeRow& row : *known) {
      json.begin_object().field("name", row.name).field("boot_id", row.boot_id).field("version", row.version);
      json.key("started").time(row.started_unix_ms);
      json.key("lease_until").time(row.lease_until_unix_ms);
      const auto devices = online.find(row.name);
      json.field("live", row.live).field("devices", devices == online.end() ? 0 : devices->second).end_object();
    }
    json.end_array();
  }
  json.end_object();
  return std::move(json).take();
}

std::string readiness_json(const Readiness& readiness) {
  JsonWriter json;
  json.begin_object();
  add_readiness(readiness, json);
  json.end_object();
  return std::move(json).take();
}

}  // namespace fieldgate::http
