// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/lane_views.h"

#include "adapters/http/json_writer.h"
#include "adapters/http/text.h"

#include <algorithm>
#include <span>

namespace fieldgate::http {
namespace {

void add_lane(const LaneStatus& lane, const std::vector<DeadLetterUsage>& kept, JsonWriter& json) {
  json.begin_object()
      .field("name", lane.name)
      .field("type", lane.type)
      .field("destination", lane.destination)
      .field("required", lane.required)
      .field("state", to_string(lane.state));
  json.key("since").time(lane.since_unix_ms);
  json.field("held", lane.held).key("last_error");
  lane.last_error.empty() ? json.null() : json.value(lane.last_error);
  json.field("records_in", lane.records_in)
      .field("pending_records", lane.pending_records)
      .field("oldest_pending_ms", lane.oldest_pending_ms)
      .field("forwarded_records", lane.forwarded_records)
      .field("filtered_records", lane.filtered_records)
      .field("dead_lettered_records", lane.dead_lettered_records)
      .field("expired_records", lane.expired_records)
      .field("skipped_records", lane.skipped_records);
  const auto at = std::find_if(kept.begin(), kept.end(), [&](const auto& usage) { return usage.lane == lane.name; });
  const DeadLetterUsage usage = at == kept.end() ? DeadLetterUsage{} : *at;
  json.key("dead_letters")
      .begin_object()
      .field("kept", usage.letters)
      .field("bytes", usage.bytes)
      .field("evicted", usage.evicted)
      .end_object()
      .end_object();
}

// All but the payload; the object stays open.
void add_letter(const DeadLetter& letter, JsonWriter& json) {
  json.begin_object().key("id").label(letter.id);
  json.field("lane", letter.lane)
      .field("kind", to_string(letter.kind))
      .field("device", letter.device)
      .field("name", letter.name);
  json.key("stream").label(letter.stream.value);
  json.key("seq").label(letter.seq.value);
  json.key("epoch").label(letter.epoch.value);
  json.key("received").time(letter.received_unix_ms);
  json.key("refused").time(letter.refused_unix_ms);
  json.field("target", letter.target)
      .field("reason", letter.reason)
      .field("detail", letter.detail)
      .field("payload_bytes", letter.payload.size());
}

void add_next(const std::optional<std::string>& next_cursor, JsonWriter& json) {
  json.key("next_cursor");
  next_cursor ? json.value(*next_cursor) : json.null();
}

}  // namespace

std::string lanes_json(const std::vector<LaneStatus>& lanes, const std::vector<DeadLetterUsage>& kept) {
  JsonWriter json;
  json.begin_object().key("lanes").begin_array();
  for (const LaneStatus& lane : lanes) add_lane(lane, kept, json);
  json.end_array().end_object();
  return std::move(json).take();
}

std::string lane_json(const LaneStatus& lane, const std::vector<DeadLetterUsage>& kept) {
  JsonWriter json;
  add_lane(lane, kept, json);
  return std::move(json).take();
}

std::string dead_letters_json(const DeadLetterPage& page, const std::optional<std::string>& next_cursor) {
  JsonWriter json;
  json.begin_object().key("dead_letters").begin_array();
  for (const DeadLetter& letter : page.letters) {
    add_letter(letter, json);
    json.end_object();
  }
  json.end_array();
  add_next(next_cursor, json);
  json.end_object();
  return std::move(json).take();
}

std::string dead_letter_json(const DeadLetter& letter) {
  JsonWriter json;
  add_letter(letter, json);
  json.field("payload", base64(std::as_bytes(std::span(letter.payload)))).end_object();
  return std::move(json).take();
}

std::string done_json(std::size_t done, const std::optional<std::string>& next_cursor, std::string_view stopped) {
  JsonWriter json;
  json.begin_object().field("done", done).field("more", next_cursor.has_value());
  add_next(next_cursor, json);
  json.key("stopped");
  stopped.empty() ? json.null() : json.value(stopped);
  json.end_object();
  return std::move(json).take();
}

}  // namespace fieldgate::http
