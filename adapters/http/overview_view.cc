// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/overview_view.h"

#include "adapters/http/json_writer.h"
#include "adapters/http/lane_views.h"
#include "adapters/http/views.h"

#include <array>
#include <string_view>
#include <utility>

namespace fieldgate::http {
namespace {

constexpr std::array<std::string_view, k_reject_codes> k_reject_names = {"", "malformed", "unsupported", "forbidden",
                                                                         "too_large"};

void add_fleet(const OverviewParts& parts, JsonWriter& json) {
  json.key("devices")
      .begin_object()
      .field("known", parts.fleet.known)
      .field("registered", parts.fleet.registered)
      .field("online", parts.fleet.online)
      .field("inactive", parts.fleet.inactive)
      .field("sessions", parts.node.sessions)
      .end_object();
  json.key("connections")
      .begin_object()
      .field("open", parts.overview.connections)
      .field("handshakes", parts.overview.handshakes)
      .end_object();
}

// Reasons that have not been met yet are left out.
void add_traffic(const Overview& from, JsonWriter& json) {
  json.key("ends").begin_object();
  for (std::size_t i = 0; i < from.ends.size(); ++i) {
    if (from.ends[i] > 0) json.field(to_string(static_cast<EndReason>(i)), from.ends[i]);
  }
  json.end_object().field("admitted", from.admitted).key("records").begin_object();
  for (std::size_t i = 0; i < from.records.size(); ++i) {
    json.field(to_string(static_cast<RecordKind>(i)), from.records[i]);
  }
  json.end_object().field("bytes_in", from.bytes_in).field("bytes_out", from.bytes_out);
  json.key("rejects").begin_object();
  for (std::size_t i = 1; i < from.rejects.size(); ++i) json.field(k_reject_names[i], from.rejects[i]);
  json.end_object();
}

void add_uplink(const Overview& from, JsonWriter& json) {
  json.key("uplink")
      .begin_object()
      .field("level", to_string(from.level))
      .field("bytes", from.uplink.bytes)
      .field("bytes_max", from.uplink.bytes_max)
      .field("records", from.uplink.records)
      .end_object();
  json.key("spool");
  if (!from.spool) {
    json.null();
    return;
  }
  json.begin_object()
      .field("state", to_string(from.uplink.state))
      .field("bytes", from.uplink.bytes)
      .field("bytes_max", from.uplink.bytes_max)
      .end_object();
}

void add_dead_letters(const std::vector<DeadLetterUsage>& usage, JsonWriter& json) {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  for (const DeadLetterUsage& lane : usage) {
    count += lane.letters;
    bytes += lane.bytes;
  }
  json.key("dead_letters").begin_object().field("count", count).field("bytes", bytes).end_object();
}

void add_store(const std::optional<StoreStatus>& store, JsonWriter& json) {
  json.key("store");
  if (!store) {
    json.null();
    return;
  }
  json.begin_object().field("available", store->available).field("description", store->description).key("last_error");
  store->last_error.empty() ? json.null() : json.value(store->last_error);
  json.field("waiting", store->waiting).end_object();
}

void add_process(const OverviewParts& parts, JsonWriter& json) {
  json.key("certificates").begin_array();
  for (const Overview::Certificate& certificate : parts.overview.certificates) {
    json.begin_object().field("name", certificate.name).key("not_after").time(certificate.not_after_unix_ms);
    json.end_object();
  }
  json.end_array();
  add_store(parts.store, json);
  json.key("readiness").json(readiness_json(parts.readiness));
  json.key("stream").begin_object().field("subscribers", parts.stream_subscribers).end_object();
  json.key("process")
      .begin_object()
      .field("memory_bytes", parts.overview.memory_bytes)
      .field("cpu_seconds", parts.overview.cpu_seconds)
      .field("uptime_seconds", parts.overview.uptime_seconds)
      .end_object();
}

}  // namespace

std::string overview_json(const OverviewParts& parts) {
  JsonWriter json;
  json.begin_object().key("time").time(parts.unix_ms);
  json.key("node")
      .begin_object()
      .field("name", parts.node.name)
      .field("boot_id", parts.node.boot_id)
      .field("version", parts.node.version)
      .end_object();
  add_fleet(parts, json);
  add_traffic(parts.overview, json);
  add_uplink(parts.overview, json);
  json.key("lanes").begin_array();
  for (const LaneStatus& lane : parts.lanes) json.json(lane_json(lane, parts.dead_letters));
  json.end_array();
  add_dead_letters(parts.dead_letters, json);
  add_process(parts, json);
  json.key("token")
      .begin_object()
      .field("name", parts.asker.name)
      .field("kind", parts.asker.kind == TokenKind::jwt ? "jwt" : "token")
      .field("scope", to_string(parts.asker.scope))
      .end_object();
  json.end_object();
  return std::move(json).take();
}

}  // namespace fieldgate::http
