// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/traffic/mqtt_packets.h"
#include "tests/sim/basics.h"
#include "tests/sim/histogram.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::bench {

struct SinkSettings {
  std::uint16_t port = 1883;  // of the broker, on 127.0.0.1
  std::vector<std::string> filters = {"fieldgate/v1/#"};
  std::string client_id = "bench-sink";
  std::string topic_prefix = "fieldgate/v1";
  std::string id_prefix = "sim-";
  std::uint32_t devices = 1;  // commands go to them in turn
  std::uint32_t first_index = 1;
};

// The one consumer at the broker, QoS 1, MQTT v5 over TCP. Counts the telemetry frames in whatever arrives (batches or
// single messages: it looks for the metric that says when the frame was made), and takes their time on the way.
// On standard input: `mark`: what arrived since the last one. `lap`: the latency since the last lap or mark, and no
// more; a mark tells that too, as `lap_latency`. `probe N`: publish N messages a second straight to the broker and time
// them too: the broker alone. `command N`: N commands a second, as MQTT requests, timed until their last reply. Thread:
// one.
class Sink final : private MqttSink {
 public:
  explicit Sink(const SinkSettings& settings) : settings_(settings), decoder_(Mqtt::v5) {}
  ~Sink() override;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // Returns once the broker has acknowledged the subscriptions.
  sim::Outcome<void> open();
  // Until the input ends. Errors: the broker hung up, or refuses.
  sim::Outcome<void> run();

 private:
  // Something to publish at even intervals.
  struct Beat {
    double interval_us = 0;  // 0: never
    double next_us = 0;
    void set(double per_second, std::int64_t now_us);
    bool take(std::int64_t now_us);
  };
  struct Timing {
    std::uint64_t sent = 0;
    std::uint64_t back = 0;
    sim::Histogram us;
  };

  void on_packet(const MqttPacket& packet) override;
  void on_publish(const MqttPacket& packet);
  void scan(std::string_view payload, std::int64_t wall_us);
  bool receive(int wait_ms);
  void flush();
  void publish_probe();
  void publish_command();
  std::uint16_t next_id() noexcept;
  bool take_input();
  std::string on_command(const std::string& word, double number);
  std::string mark();
  std::string lap();

  const SinkSettings settings_;
  int fd_ = -1;
  MqttDecoder decoder_;
  std::vector<char> bytes_ = std::vector<char>(1 << 20);
  std::string out_, input_;
  bool connected_ = false;
  unsigned subscribed_ = 0;
  std::string refused_;
  std::uint16_t id_ = 0;
  sim::Now now_;
  Beat probe_, command_;
  std::uint32_t turn_ = 0;
  std::vector<std::int64_t> asked_us_;  // by the command's number
  // Since the last mark.
  std::int64_t since_us_ = 0;
  std::uint64_t messages_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t refused_commands_ = 0;
  sim::Histogram latency_us_;  // up to the last lap
  sim::Histogram lap_us_;
  Timing probes_, commands_;
};

}  // namespace fieldgate::bench
