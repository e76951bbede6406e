// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/mqtt_lane.h"
#include "fieldgate/v1/northbound.pb.h"
#include "tests/support/fake_dead_letters.h"
#include "tests/support/lane_fakes.h"
#include "tests/support/mosquitto_broker.h"
#include "tests/support/recording_subscriber.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::mqtt {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::BrokerOptions;
using test::MosquittoBroker;
using test::RecordingSubscriber;

// Long, for sanitizers and loaded machines: nothing is measured by it.
inline constexpr seconds k_patience{60};

// True once `condition` is, within `patience`.
bool eventually(const std::function<bool()>& condition, milliseconds patience = k_patience);

// A lane, what it stands on, and devices that fill its log.
struct LaneFixture : testing::Test {
  ~LaneFixture() override { lane.reset(); }

  // Fast back-off; everything else as by default.
  static MqttLaneSettings settings(std::uint16_t port);
  void start(MqttLaneSettings with, std::string boot_id = "boot-1");
  LaneState state() const { return lane->status().state; }
  bool running() const;

  // Adds `count` telemetry records of each of `devices` devices, seq counting on,
  // in blocks of mixed devices.
  void feed_telemetry(std::size_t devices, std::size_t count, std::size_t payload_bytes = 20);
  void feed_event(const std::string& device, const std::string& name);

  // What has arrived, per device in order of arrival, from whatever payload mode.
  using Arrived = std::map<std::string, std::vector<std::uint64_t>>;
  static Arrived arrived(const std::vector<RecordingSubscriber::Message>& messages);
  // Every record that was fed has arrived at `subscriber`, and each device's
  // sequence numbers, taken at their first arrival, rise.
  void expect_all_in_order(const RecordingSubscriber& subscriber) const;

  SystemClock clock;
  test::TextLog log;
  MqttLaneProbe probe;
  test::FakeDeadLetters dead_letters;
  test::FakeFeed feed;
  std::map<std::string, std::uint64_t> fed;  // last seq by device
  std::unique_ptr<MqttLane> lane;
};

}  // namespace fieldgate::mqtt
