// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/traffic/driver.h"
#include "tests/bench/traffic/mqtt_packets.h"
#include "tests/sim/frames.h"
#include "tests/sim/histogram.h"

#include "fieldgate/v1/device.pb.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::bench {

enum class Protocol : std::uint8_t {
  fieldgate,  // proto/fieldgate/v1
  mqtt,       // MQTT 3.1.1 in WebSocket messages, telemetry as PUBLISH at QoS 1
};

struct FleetSettings {
  Protocol protocol = Protocol::fieldgate;
  std::uint32_t devices = 100;
  std::uint32_t first_index = 1;
  double connects_per_second = 1'000;
  std::uint32_t connecting_max = 256;  // 0: no limit
  std::uint32_t window = 64;           // frames that a device has unacknowledged, at most
  std::uint32_t per_record = 1;        // frames in a TLS record, where there are so many to send
  v1::AckStage stage = v1::ACK_STAGE_FORWARDED;
  sim::FrameShape shape;
  std::uint32_t heartbeat_seconds = 600;
  double backoff_base = 1;  // seconds; full jitter, doubled with each failure
  double backoff_max = 300;
  double connect_timeout = 20;  // to Welcome or CONNACK
  bool commands = false;        // answers commands with success
  std::string topic_prefix = "fieldgate/v1";
};

// Devices that send what they are told to, as `rate N` frames a second of all of them in turn, or `max`: as much as the
// window lets out. `mark`: what happened since the last one. `online`: how many are. `cut N MS`: the first N reset
// their connections, and come back within MS, with back-off if that fails. `watch`: as if all had been cut now.
// `returns S`: how that went, with the most upgrades done in any second, and in any after the first S seconds. Frames
// that were under way when a connection ended are not sent again: each connection is a stream of its own.
class Fleet final : public Driver {
 public:
  explicit Fleet(const FleetSettings& settings);

  void on_open(Link& link) override;
  void on_frame(Link& link, sim::WsOpcode opcode, std::string_view payload) override;
  void on_lost(Link& link) override;

 protected:
  void on_start() override;
  std::int64_t on_turn() override;
  void on_due(std::uint32_t slot) override;
  std::string on_command(const std::vector<std::string>& words) override;

 private:
  enum class Phase : std::uint8_t { waiting, queued, connecting, greeted, online };

  struct Device {
    Phase phase = Phase::waiting;
    unsigned attempts = 0;
    std::int64_t goodbye_within_us = 0;
    std::uint64_t stream = 0;
    std::uint64_t seed = 0;
    std::uint64_t sent = 0;
    std::uint64_t acked = 0;
    std::uint32_t credit = 0;
    std::vector<std::int64_t> sent_us;  // by seq modulo the window; from the first frame on
    std::unique_ptr<MqttDecoder> decoder;
  };

  struct Stats {
    std::int64_t since_us = 0;
    std::uint64_t sent = 0;
    std::uint64_t acked = 0;
    std::uint64_t withheld = 0;  // due, but not online or without a window
    std::uint64_t connects = 0;
    std::uint64_t opens = 0;
    std::uint64_t welcomes = 0;
    std::uint64_t lost_connecting = 0;
    std::uint64_t lost_online = 0;
    std::uint64_t goodbyes = 0;
    std::uint64_t commands = 0;
    std::uint64_t faults = 0;  // what the server may not say
    sim::Histogram ack_us;
    sim::Histogram late_us;  // a frame was sent so long after it was due
  };

  // A packet of the MQTT stream of one link.
  struct Packets final : MqttSink {
    Packets(Fleet& fleet, std::uint32_t slot) : fleet_(fleet), slot_(slot) {}
    void on_packet(const MqttPacket& packet) override { fleet_.on_packet(slot_, packet); }
    Fleet& fleet_;
    const std::uint32_t slot_;
  };

  void connect(std::uint32_t slot);
  void leave_connecting(Device& device);
  void later(std::uint32_t slot, std::int64_t within_us);
  void greet(Link& link, Device& device);
  void welcomed(std::uint32_t slot, std::uint32_t credit);
  void on_packet(std::uint32_t slot, const MqttPacket& packet);
  void on_gateway_frame(std::uint32_t slot, std::string_view payload);
  void answer(std::uint32_t slot, const v1::Command& command);
  void acknowledge(std::uint32_t slot, std::uint64_t through);
  bool room(std::uint32_t slot, std::uint32_t frames);
  void send_one(std::uint32_t slot);
  void send_data(std::uint32_t slot, std::string_view frame);
  void top_up(std::uint32_t slot);
  void cut(std::uint32_t devices, std::int64_t within_us);
  std::string mark();
  std::string returns(std::int64_t first_us);

  const FleetSettings settings_;
  sim::FrameFactory factory_;
  std::vector<Device> devices_;
  std::deque<std::uint32_t> queue_;  // waits for a place among the connecting
  std::uint32_t connecting_ = 0;
  std::uint32_t online_ = 0;
  bool saturate_ = false;
  std::uint32_t window_ = 0;
  double interval_us_ = 0;  // 0: nothing by the clock
  double next_us_ = 0;
  std::uint32_t turn_ = 0;
  Stats stats_;
  std::int64_t cut_us_ = 0;
  std::uint32_t cut_ = 0;
  std::vector<std::int64_t> opened_us_;  // since the cut
  std::vector<std::int64_t> welcomed_us_;
  // Reused.
  std::string frame_, packet_, topic_;
  v1::DeviceFrame up_;
  v1::GatewayFrame down_;
};

}  // namespace fieldgate::bench
