// SPDX-License-Identifier: Apache-2.0
//
// What reading one telemetry frame costs: 6 metrics in about 120 bytes, decoded and
// taken over into the device's last values, over and over. For instructions:
//   valgrind --tool=callgrind --toggle-collect='decode_one*' BENCH 1000
#include "adapters/wire/protobuf_wire.h"
#include "fieldgate/v1/device.pb.h"
#include "gateway/core/last_values.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

namespace {

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

// A function of its own, not inlined, so that callgrind can be told to count it alone.
extern "C" [[gnu::noinline]] bool decode_one(fieldgate::WireDecoder& decoder, std::span<const std::byte> message,
                                             fieldgate::MetricSink& sink) {
  return decoder.decode(message, 1'700'000'000'500, sink).has_value();
}

int main(int argc, char** argv) {
  const long rounds = argc > 1 ? std::atol(argv[1]) : 1'000'000;
  const std::string message = telemetry();
  const auto bytes = std::as_bytes(std::span(message));
  const fieldgate::wire::ProtobufWire wire{fieldgate::LimitSettings{}};
  const auto decoder = wire.make_decoder();
  IntoLastValues sink;
  const auto begin = std::chrono::steady_clock::now();
  for (long i = 0; i < rounds; ++i) {
    if (!decode_one(*decoder, bytes, sink)) return 1;
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  std::printf("%zu bytes, %ld frames, %.1f ns each\n", message.size(), rounds,
              took.count() / static_cast<double>(rounds));
  return 0;
}
