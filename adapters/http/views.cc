// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/views.h"

#include "adapters/http/json_writer.h"
#include "adapters/http/text.h"

namespace fieldgate::http {
namespace {

// The members that lists and single devices share; the object stays open.
void add_summary(const DeviceSummary& device, bool inactive, JsonWriter& json) {
  json.field("id", device.id.str()).field("online", device.online).field("inactive", inactive);
  json.key("epoch").label(device.epoch.value);
  json.key("since").time(device.since_unix_ms);
  json.key("last_seen").time(device.last_seen_unix_ms);
  json.key("last_data").time(device.last_data_unix_ms);
  json.field("firmware", device.firmware);
  json.key("labels").begin_object();
  for (const auto& [key, value] : device.labels) json.field(key, value);
  json.end_object();
  json.key("reason");
  device.online || device.reason.empty() ? json.null() : json.value(device.reason);
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

std::string devices_json(const FleetPage& page, const std::optional<std::string>& next_cursor, const FleetIndex& index,
                         std::int64_t now_unix_ms) {
  JsonWriter json;
  json.begin_object().key("devices").begin_array();
  for (const DeviceSummary* device : page.devices) {
    json.begin_object();
    add_summary(*device, index.inactive(*device, now_unix_ms), json);
    json.end_object();
  }
  json.end_array().key("next_cursor");
  next_cursor ? json.value(*next_cursor) : json.null();
  if (page.count) json.field("count", *page.count);
  json.end_object();
  return std::move(json).take();
}

std::string device_json(const DeviceSummary& device, bool inactive, const DeviceDetail* detail) {
  JsonWriter json;
  json.begin_object();
  add_summary(device, inactive, json);
  json.key("live");
  if (detail != nullptr && device.online) {
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

std::string latest_json(const DeviceSummary& device, const DeviceDetail* detail) {
  JsonWriter json;
  json.begin_object().field("id", device.id.str()).field("online", device.online);
  json.key("last_data").time(device.last_data_unix_ms);
  json.key("last_values");
  detail != nullptr ? add_last_values(*detail, json) : static_cast<void>(json.begin_array().end_array());
  json.field("truncated", detail != nullptr && detail->truncated).end_object();
  return std::move(json).take();
}

std::string nodes_json(const NodeInfo& node, const Readiness& readiness) {
  JsonWriter json;
  json.begin_object().key("nodes").begin_array().begin_object();
  json.field("name", node.name).field("boot_id", node.boot_id).field("version", node.version);
  json.key("started").time(node.started_unix_ms);
  json.field("shards", node.shards).field("sessions", node.sessions);
  add_readiness(readiness, json);
  json.end_object().end_array().end_object();
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
