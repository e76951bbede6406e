// SPDX-License-Identifier: Apache-2.0
//
// Reading one telemetry frame of six metrics, over and over, for callgrind
// (../decode_bench.py), which counts what is below turn_*:
//   reader    ours, with every check, and nothing done with the metrics
//   values    the same, taken over into the device's last values
//   protobuf  protobuf's generated class, the parse alone, into a reused message; its body
//             is one of several, so that protobuf frees it and makes it anew each time
//   body      the same of the body alone, of which protobuf keeps all
// Prints the frame's size and number of metrics as key=value.
#include "adapters/wire/protobuf_wire.h"
#include "fieldgate/v1/device.pb.h"
#include "gateway/core/last_values.h"

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

namespace {

class Nowhere final : public fieldgate::MetricSink {
 public:
  void metric(std::string_view, const fieldgate::MetricValue&, std::int64_t, fieldgate::MetricQuality) override {}
};

class IntoLastValues final : public fieldgate::MetricSink {
 public:
  void metric(std::string_view name, const fieldgate::MetricValue& value, std::int64_t unix_ms,
              fieldgate::MetricQuality quality) override {
    values.update(name, value, unix_ms, quality);
  }
  fieldgate::LastValues values{4'096};
};

std::string telemetry() {
  fieldgate::v1::DeviceFrame frame;
  frame.set_seq(123'456);
  auto* sample = frame.mutable_telemetry()->add_samples();
  sample->set_unix_ms(1'700'000'000'000);
  for (const char* name : {"temperature", "humidity", "pressure"}) {
    auto* metric = sample->add_metrics();
    metric->set_name(name);
    metric->set_double_value(21.5);
  }
  for (const char* name : {"rssi", "uptime"}) {
    auto* metric = sample->add_metrics();
    metric->set_name(name);
    metric->set_int_value(-67);
  }
  auto* metric = sample->add_metrics();
  metric->set_name("ok");
  metric->set_bool_value(true);
  return frame.SerializeAsString();
}

}  // namespace

// Functions of their own, not inlined, so that callgrind can be told to count them alone.
extern "C" [[gnu::noinline]] bool turn_decoder(fieldgate::WireDecoder& decoder, std::span<const std::byte> message,
                                               fieldgate::MetricSink& sink) {
  return decoder.decode(message, 1'700'000'000'500, sink).has_value();
}

extern "C" [[gnu::noinline]] bool turn_protobuf(fieldgate::v1::DeviceFrame& frame, std::span<const std::byte> message) {
  return frame.ParseFromArray(message.data(), static_cast<int>(message.size()));
}

extern "C" [[gnu::noinline]] bool turn_body(fieldgate::v1::Telemetry& body, std::span<const std::byte> message) {
  return body.ParseFromArray(message.data(), static_cast<int>(message.size()));
}

int main(int argc, char** argv) {
  const std::string_view what = argc == 3 ? argv[1] : "";
  if (what != "reader" && what != "values" && what != "protobuf" && what != "body") {
    std::fprintf(stderr, "fieldgate_bench_decode reader|values|protobuf|body ROUNDS\n");
    return 2;
  }
  const long rounds = std::atol(argv[2]);
  const std::string message = telemetry();
  const auto bytes = std::as_bytes(std::span(message));
  const fieldgate::wire::ProtobufWire wire{fieldgate::LimitSettings{}};
  const auto decoder = wire.make_decoder();
  fieldgate::v1::DeviceFrame frame;
  if (!frame.ParseFromString(message)) return 1;
  fieldgate::v1::Telemetry body;
  const std::string body_message = frame.telemetry().SerializeAsString();
  const auto body_bytes = std::as_bytes(std::span(body_message));
  std::printf("bytes=%zu\nmetrics=%d\n", message.size(), frame.telemetry().samples(0).metrics_size());
  Nowhere nowhere;
  IntoLastValues values;
  fieldgate::MetricSink& sink = what == "reader" ? static_cast<fieldgate::MetricSink&>(nowhere) : values;
  for (long i = 0; i < rounds; ++i) {
    const bool read = what == "protobuf" ? turn_protobuf(frame, bytes)
                      : what == "body"   ? turn_body(body, body_bytes)
                                         : turn_decoder(*decoder, bytes, sink);
    if (!read) return 1;
  }
  return 0;
}
