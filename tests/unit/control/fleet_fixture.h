// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/owners.h"
#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::control {

// The connections of a node, as a test says that they are; keeps what it is told.
class FakeOwners final : public Owners {
 public:
  void superseded(std::vector<Standing> by, const std::string& node) override {
    for (const Standing& one : by) heard.push_back("superseded " + text(one) + " by " + node);
    if (on_superseded) on_superseded();
  }
  void renew(std::vector<Standing> ended, std::function<void(Standing)> failed) override {
    for (const Standing& one : ended) {
      heard.push_back("renew " + text(one));
      if (no_epoch) failed(one);
    }
  }
  void end(const Standing& connection, EndReason reason) override {
    heard.push_back("end " + text(connection) + " " + std::string(to_string(reason)));
  }
  void list(std::function<void(std::vector<DeviceSummary>)> some) override {
    for (const DeviceSummary& device : connected) some({device});
  }
  void compare(std::vector<Standing> believed, std::function<void(std::vector<DeviceSummary>)> otherwise) override {
    for (const Standing& one : believed) {
      bool is_so = false;
      for (const DeviceSummary& device : connected) is_so = is_so || device.id == one.device;
      if (is_so) continue;
      DeviceSummary ended{one.device};
      ended.epoch = one.epoch;
      ended.reason = "bye";
      otherwise({ended});
    }
  }
  void tell_lost(std::vector<LostConnection> all) override {
    for (auto& one : all) lost.push_back(std::move(one));
  }
  std::vector<std::string> take() { return std::exchange(heard, {}); }

  std::vector<DeviceSummary> connected;
  bool no_epoch = false;
  std::function<void()> on_superseded;
  std::vector<std::string> heard;
  std::vector<LostConnection> lost;

 private:
  static std::string text(const Standing& one) { return one.device.str() + " " + std::to_string(one.epoch.value); }
};

inline PresenceEvent presence_event(const std::string& device, std::uint64_t epoch, bool online,
                                    const std::string& node, const std::string& reason = "bye") {
  PresenceEvent event{device_id(device), {epoch}, online, node, node + ".boot"};
  event.unix_ms = 1'700'000'000'000;
  if (!online) event.reason = reason;
  return event;
}

// A store that several nodes write into; this one is "node-1".
struct FleetFixture : StoreFixture {
  FleetFixture() { EXPECT_TRUE(worker.open()); }

  void add(const std::vector<PresenceEvent>& events) {
    EXPECT_TRUE(ask<std::size_t>([&](DeviceStore& store) { return store.add_presence(events); }));
  }
  PresenceRow row(const std::string& device) {
    const DeviceId id = device_id(device);
    const auto rows = ask<std::vector<PresenceRow>>([&](DeviceStore& store) { return store.presence_of({&id, 1}); });
    return rows && !rows->empty() ? rows->front() : PresenceRow{id};
  }
  void lease(const std::string& node, std::chrono::seconds term) {
    EXPECT_TRUE(worker.run_now([&](DeviceStore& store) {
      return store.lease({.name = node, .boot_id = node + ".boot", .version = "1"}, term);
    }));
  }

  const NodeRow self{.name = "node-1", .boot_id = "node-1.boot", .version = "1"};
  FakeOwners owners;
  RecordingSink sink;
};

}  // namespace fieldgate::control
