// SPDX-License-Identifier: Apache-2.0
#include "adapters/northbound/json_writer.h"

#include "adapters/northbound/json_text.h"
#include "fieldgate/v1/device.pb.h"
#include "fieldgate/v1/northbound.pb.h"

#include <boost/json/parse.hpp>

namespace fieldgate::northbound {
namespace {

void text_member(std::string_view key, const std::string& text, std::string& out) {
  if (text.empty()) return;
  append_json_key(key, out);
  append_json_string(text, out);
}

void time_member(std::string_view key, std::int64_t value, std::string& out) {
  append_json_key(key, out);
  append_number(value, out);
}

void true_member(std::string_view key, bool value, std::string& out) {
  if (!value) return;
  append_json_key(key, out);
  out.append("true");
}

void typed_value(std::string_view type, std::string& out) {
  append_json_key("type", out);
  append_json_string(type, out);
  append_json_key("value", out);
}

void write_metric(const v1::Metric& metric, std::string& out) {
  out.append("{\"name\":");
  append_json_string(metric.name(), out);
  switch (metric.value_case()) {
    case v1::Metric::kDoubleValue:
      typed_value("double", out);
      append_json_double(metric.double_value(), out);
      break;
    case v1::Metric::kIntValue:
      typed_value("int", out);
      append_json_integer(std::int64_t{metric.int_value()}, out);
      break;
    case v1::Metric::kBoolValue:
      typed_value("bool", out);
      out.append(metric.bool_value() ? "true" : "false");
      break;
    case v1::Metric::kStringValue:
      typed_value("string", out);
      append_json_string(metric.string_value(), out);
      break;
    case v1::Metric::kBytesValue:
      typed_value("bytes", out);
      append_json_base64(metric.bytes_value(), out);
      break;
    case v1::Metric::VALUE_NOT_SET: break;
  }
  if (metric.quality() == v1::QUALITY_UNCERTAIN) out.append(",\"quality\":\"uncertain\"");
  if (metric.quality() == v1::QUALITY_BAD) out.append(",\"quality\":\"bad\"");
  out.push_back('}');
}

template <class Metrics>
void write_metrics(std::string_view key, const Metrics& metrics, std::string& out) {
  append_json_key(key, out);
  out.push_back('[');
  for (const v1::Metric& metric : metrics) {
    if (out.back() != '[') out.push_back(',');
    write_metric(metric, out);
  }
  out.push_back(']');
}

void write_telemetry(const v1::Telemetry& telemetry, std::string& out) {
  append_json_key("samples", out);
  out.push_back('[');
  for (const v1::Sample& sample : telemetry.samples()) {
    if (out.back() != '[') out.push_back(',');
    out.push_back('{');
    if (sample.time_case() == v1::Sample::kUnixMs) time_member("unix_ms", sample.unix_ms(), out);
    if (sample.time_case() == v1::Sample::kAtUptimeMs) {
      append_json_key("at_uptime_ms", out);
      append_json_integer(std::uint64_t{sample.at_uptime_ms()}, out);
    }
    write_metrics("metrics", sample.metrics(), out);
    out.push_back('}');
  }
  out.push_back(']');
  if (telemetry.uptime_ms() != 0) {
    append_json_key("uptime_ms", out);
    append_json_integer(std::uint64_t{telemetry.uptime_ms()}, out);
  }
  true_member("historical", telemetry.historical(), out);
}

void write_event(const v1::Event& event, std::string& out) {
  text_member("name", event.name(), out);
  if (event.unix_ms() != 0) time_member("unix_ms", event.unix_ms(), out);
  static const std::string k_severities[] = {"", "debug", "info", "warning", "error", "critical"};
  const auto severity = static_cast<std::size_t>(event.severity());
  if (severity < std::size(k_severities)) text_member("severity", k_severities[severity], out);
  text_member("text", event.text(), out);
  if (event.attributes_size() > 0) write_metrics("attributes", event.attributes(), out);
}

// A device's text goes into ours unquoted only if it is JSON by itself.
bool is_json_object(const std::string& text) {
  boost::json::parse_options options;
  options.max_depth = 32;
  boost::system::error_code error;
  const auto value = boost::json::parse(text, error, {}, options);
  return !error && value.is_object();
}

void write_state(const v1::State& state, std::string& out) {
  if (is_json_object(state.reported_json())) {
    append_json_key("reported", out);
    out.append(state.reported_json());
  } else {
    append_json_key("reported_text", out);
    append_json_string(state.reported_json(), out);
  }
  true_member("full", state.full(), out);
}

void write_command_result(const v1::CommandResult& result, std::string& out) {
  text_member("id", result.id(), out);
  static const std::string k_outcomes[] = {"", "succeeded", "failed", "rejected", "cancelled"};
  const auto outcome = static_cast<std::size_t>(result.outcome());
  if (outcome < std::size(k_outcomes)) text_member("outcome", k_outcomes[outcome], out);
  text_member("text", result.text(), out);
  if (!result.payload().empty()) {
    append_json_key("payload", out);
    append_json_base64(result.payload(), out);
  }
}

// False for a frame that is not data.
bool write_body(const v1::DeviceFrame& frame, std::string& out) {
  const auto open = [&out](std::string_view kind) {
    append_json_key(kind, out);
    out.push_back('{');
  };
  switch (frame.kind_case()) {
    case v1::DeviceFrame::kTelemetry:
      open("telemetry");
      write_telemetry(frame.telemetry(), out);
      break;
    case v1::DeviceFrame::kEvent:
      open("event");
      write_event(frame.event(), out);
      break;
    case v1::DeviceFrame::kState:
      open("state");
      write_state(frame.state(), out);
      break;
    case v1::DeviceFrame::kCommandAck:
      open("command_ack");
      text_member("id", frame.command_ack().id(), out);
      break;
    case v1::DeviceFrame::kCommandResult:
      open("command_result");
      write_command_result(frame.command_result(), out);
      break;
    case v1::DeviceFrame::kDesiredAck:
      open("desired_ack");
      append_json_key("version", out);
      append_json_integer(std::uint64_t{frame.desired_ack().version()}, out);
      text_member("error", frame.desired_ack().error(), out);
      break;
    case v1::DeviceFrame::kOpaque:
      open("opaque");
      text_member("schema_id", frame.opaque().schema_id(), out);
      append_json_key("data", out);
      append_json_base64(frame.opaque().data(), out);
      break;
    default: return false;
  }
  out.append("}}");
  return true;
}

void write_presence(const v1::PresenceEvent& event, std::string& out) {
  out.append(event.online() ? "{\"online\":true" : "{\"online\":false");
  append_json_key("epoch", out);
  out.push_back('"');
  append_number(std::uint64_t{event.epoch()}, out);
  out.push_back('"');
  text_member("node", event.node(), out);
  text_member("boot_id", event.boot_id(), out);
  time_member("unix_ms", event.unix_ms(), out);
  text_member("reason", event.reason(), out);
  out.push_back('}');
}

}  // namespace

struct JsonWriter::Scratch {
  v1::DeviceFrame frame;  // reused: parsing into a used message costs half
  v1::PresenceEvent presence;
};

JsonWriter::JsonWriter() : scratch_(std::make_unique<Scratch>()) {}
JsonWriter::~JsonWriter() = default;

bool JsonWriter::write(const RecordView& record, std::string& out) {
  out.clear();
  const int size = static_cast<int>(record.payload.size());
  if (record.kind == RecordKind::presence) {
    if (!scratch_->presence.ParseFromArray(record.payload.data(), size)) return false;
    write_presence(scratch_->presence, out);
    return true;
  }
  if (!scratch_->frame.ParseFromArray(record.payload.data(), size)) return false;
  out.append("{\"device\":");
  append_json_string(record.device, out);
  out.append(",\"stream\":\"");
  append_number(record.stream.value, out);
  out.append("\",\"seq\":");
  append_json_integer(record.seq.value, out);
  out.append(",\"received_unix_ms\":");
  append_number(record.received_unix_ms, out);
  return write_body(scratch_->frame, out);
}

}  // namespace fieldgate::northbound
