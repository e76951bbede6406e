// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/webhook/directory.h"
#include "adapters/webhook/webhook_lane.h"
#include "tests/integration/webhook/target_process.h"
#include "tests/support/fake_dead_letters.h"
#include "tests/support/lane_fakes.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::webhook {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Long, for sanitizers and loaded machines: nothing is measured by it.
inline constexpr seconds k_patience{60};

// True once `condition` is, within `patience`.
bool eventually(const std::function<bool()>& condition, milliseconds patience = k_patience);

// A lane, what it stands on, and devices that fill its log.
struct LaneFixture : testing::Test {
  ~LaneFixture() override { lane.reset(); }

  // Loopback allowed, fast back-off, short linger; everything else as by default.
  static WebhookLaneSettings settings(std::uint16_t port);
  void start(WebhookLaneSettings with, std::shared_ptr<NameSource> names = system_names());
  LaneStatus status() const { return lane->status(); }
  bool reaches(LaneState state) const {
    return eventually([this, state] { return status().state == state; });
  }
  // The status' error comes to hold `text`.
  bool complains(const std::string& text) const {
    return eventually([this, &text] { return status().last_error.find(text) != std::string::npos; });
  }

  // Adds `count` telemetry records of each of `devices` devices, seq counting on,
  // in blocks of mixed devices.
  void feed_telemetry(std::size_t devices, std::size_t count, std::size_t payload_bytes = 20);
  std::uint64_t fed_records() const;

  // Every record that was fed is forwarded or a dead letter and accounted for; what
  // was forwarded has been taken by `target`, each device's in order.
  void expect_nothing_lost(const TargetProcess& target) const;
  std::uint64_t outcome(WebhookOutcome which) const { return probe.requests[static_cast<std::size_t>(which)].get(); }

  SystemClock clock;
  test::TextLog log;
  WebhookLaneProbe probe;
  test::FakeDeadLetters letters;
  test::FakeFeed feed;
  std::map<std::string, std::uint64_t> fed;  // last seq by device
  std::unique_ptr<Lane> lane;
};

}  // namespace fieldgate::webhook
