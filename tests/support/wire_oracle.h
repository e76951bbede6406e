// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "fieldgate/v1/device.pb.h"
#include "gateway/ports/wire.h"

#include <boost/json.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// Holds a decoder's verdict against protobuf's own classes: whatever the gateway
// takes, every consumer behind it must be able to read, and in the same way.
namespace fieldgate {

// Keeps a copy of every metric it is given.
struct MetricCopies final : MetricSink {
  struct Copy {
    std::string name;
    std::variant<double, std::int64_t, bool, std::string, std::vector<std::byte>> value;
    std::int64_t unix_ms;
    MetricQuality quality;
  };
  void metric(std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality) override {
    Copy copy{std::string(name), {}, unix_ms, quality};
    if (const auto* real = std::get_if<double>(&value)) copy.value = *real;
    if (const auto* integer = std::get_if<std::int64_t>(&value)) copy.value = *integer;
    if (const auto* boolean = std::get_if<bool>(&value)) copy.value = *boolean;
    if (const auto* text = std::get_if<std::string_view>(&value)) copy.value = std::string(*text);
    if (const auto* bytes = std::get_if<MetricBytes>(&value)) {
      const auto raw = std::as_bytes(std::span(bytes->data));
      copy.value = std::vector<std::byte>(raw.begin(), raw.end());
    }
    copies.push_back(std::move(copy));
  }
  std::vector<Copy> copies;
};

namespace oracle {

inline bool same_value(const v1::Metric& metric, const MetricCopies::Copy& copy) {
  switch (metric.value_case()) {
    case v1::Metric::kDoubleValue: {
      const double* real = std::get_if<double>(&copy.value);
      return real != nullptr &&
             std::bit_cast<std::uint64_t>(*real) == std::bit_cast<std::uint64_t>(metric.double_value());
    }
    case v1::Metric::kIntValue: {
      const auto* integer = std::get_if<std::int64_t>(&copy.value);
      return integer != nullptr && *integer == metric.int_value();
    }
    case v1::Metric::kBoolValue: {
      const bool* boolean = std::get_if<bool>(&copy.value);
      return boolean != nullptr && *boolean == metric.bool_value();
    }
    case v1::Metric::kStringValue: {
      const auto* text = std::get_if<std::string>(&copy.value);
      return text != nullptr && *text == metric.string_value();
    }
    case v1::Metric::kBytesValue: {
      const auto* bytes = std::get_if<std::vector<std::byte>>(&copy.value);
      return bytes != nullptr &&
             std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size()) == metric.bytes_value();
    }
    case v1::Metric::VALUE_NOT_SET: return false;
  }
  return false;
}

inline int quality_number(MetricQuality quality) { return static_cast<int>(quality) + 1; }

inline std::string telemetry(const v1::Telemetry& telemetry, const UpFrame& frame, const MetricCopies& sink,
                             std::int64_t now) {
  std::size_t i = 0;
  std::size_t metrics = 0;
  for (const v1::Sample& sample : telemetry.samples()) {
    std::int64_t at = now;
    if (sample.time_case() == v1::Sample::kUnixMs) at = sample.unix_ms();
    if (sample.time_case() == v1::Sample::kAtUptimeMs) {
      at = now - static_cast<std::int64_t>(telemetry.uptime_ms() - sample.at_uptime_ms());
    }
    metrics += static_cast<std::size_t>(sample.metrics_size());
    if (frame.historical) continue;
    for (const v1::Metric& metric : sample.metrics()) {
      if (i == sink.copies.size()) return "metrics are missing";
      const MetricCopies::Copy& copy = sink.copies[i++];
      const int quality = metric.quality() == 0 ? 1 : static_cast<int>(metric.quality());
      if (copy.name != metric.name() || copy.name.empty()) return "another metric name";
      if (!same_value(metric, copy)) return "another metric value";
      if (copy.unix_ms != at || at < 0) return "another metric time";
      if (quality_number(copy.quality) != quality) return "another metric quality";
    }
  }
  if (i != sink.copies.size()) return "metrics out of nowhere";
  if (frame.metrics != metrics || frame.samples != static_cast<std::uint32_t>(telemetry.samples_size())) {
    return "other counts";
  }
  return frame.historical == telemetry.historical() ? "" : "another historical flag";
}

inline std::string hello(const v1::Hello& wire, const HelloFrame& read) {
  if (read.device_id != wire.device_id() || read.stream.value != wire.stream_id()) return "another identity";
  if (read.oldest.value != wire.oldest_seq() || read.last.value != wire.last_seq()) return "other positions";
  if (static_cast<int>(read.stage) != static_cast<int>(wire.ack_stage())) return "another stage";
  if (read.heartbeat_seconds != wire.heartbeat_seconds()) return "another heartbeat";
  const std::uint32_t receive = wire.receive_max_bytes() == 0 ? 4'096 : wire.receive_max_bytes();
  if (read.receive_max_bytes != receive) return "another receive_max_bytes";
  if (read.firmware_version != wire.firmware_version()) return "another firmware";
  if (read.labels.size() != wire.labels().size()) return "other labels";
  for (const auto& [key, value] : read.labels) {
    const auto at = wire.labels().find(key);
    if (at == wire.labels().end() || at->second != value) return "another label";
  }
  return "";
}

inline std::string body(const v1::DeviceFrame& wire, const UpFrame& frame, const MetricCopies& sink, std::int64_t now) {
  switch (wire.kind_case()) {
    case v1::DeviceFrame::kHello: return frame.hello == nullptr ? "no hello" : hello(wire.hello(), *frame.hello);
    case v1::DeviceFrame::kTelemetry: return telemetry(wire.telemetry(), frame, sink, now);
    case v1::DeviceFrame::kEvent: return frame.name == wire.event().name() ? "" : "another event name";
    case v1::DeviceFrame::kState: {
      boost::json::parse_options options;
      options.max_depth = 64;
      boost::system::error_code code;
      const auto json = boost::json::parse(wire.state().reported_json(), code, {}, options);
      if (code == boost::json::error::exponent_overflow) return "";  // valid, only beyond what Boost can hold
      return !code && json.is_object() ? "" : "not a JSON object";
    }
    case v1::DeviceFrame::kCommandAck: return frame.name == wire.command_ack().id() ? "" : "another command id";
    case v1::DeviceFrame::kCommandResult: return frame.name == wire.command_result().id() ? "" : "another command id";
    case v1::DeviceFrame::kDesiredAck: return "";
    case v1::DeviceFrame::kOpaque: return frame.name == wire.opaque().schema_id() ? "" : "another schema id";
    case v1::DeviceFrame::kTimeRequest: return frame.token == wire.time_request().token() ? "" : "another token";
    case v1::DeviceFrame::kBye: return "";
    case v1::DeviceFrame::KIND_NOT_SET: return "no kind";
  }
  return "no kind";
}

}  // namespace oracle

// What is wrong with the decoder's answer to `message`; empty: nothing.
inline std::string verdict_problem(WireDecoder& decoder, std::span<const std::byte> message, std::int64_t now) {
  MetricCopies sink;
  const auto answer = decoder.decode(message, now, sink);
  if (!answer) {
    if (answer.error().code != Errc::malformed) return "an error other than malformed";
    if (answer.error().detail.empty()) return "an error that says nothing";
    return sink.copies.empty() ? "" : "metrics of a frame that was refused";
  }
  if (const auto* reject = std::get_if<DecodeReject>(&*answer)) {
    if (!sink.copies.empty()) return "metrics of a frame that was rejected";
    if (reject->seq.value == 0 || reject->text.empty() || reject->text.size() > 256)
      return "a reject that says nothing";
    for (const char c : reject->text) {
      if (c < 0x20 || c > 0x7e) return "a reject that repeats what the device sent";
    }
    return "";
  }
  const UpFrame& frame = std::get<UpFrame>(*answer);
  v1::DeviceFrame wire;
  if (!wire.ParseFromArray(message.data(), static_cast<int>(message.size()))) return "protobuf does not take it";
  if (wire.seq() != frame.seq.value) return "another sequence number";
  if (static_cast<int>(frame.kind) != static_cast<int>(wire.kind_case()) - 1) return "another kind";
  return oracle::body(wire, frame, sink, now);
}

}  // namespace fieldgate
