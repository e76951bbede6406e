// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ownership.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate {

using namespace std::chrono_literals;

inline DeviceId id(const std::string& text) { return DeviceId::parse(text).value(); }

inline SessionAddress session(std::uint32_t slot) { return {0, {slot, 1}}; }

// Remembers what was decided, and holds the states that were granted.
class Recorder final : public OwnershipActions {
 public:
  struct Presence {
    std::string device;
    bool online;
    Epoch epoch;
    EndReason reason;
    std::int64_t since_unix_ms;
  };
  struct Hold {
    std::string device;
    Epoch epoch;
    HoldEnd how;
    std::int64_t since_unix_ms;
    friend bool operator==(const Hold&, const Hold&) = default;
  };
  struct Grant {
    SessionAddress to;
    Epoch epoch;
    std::unique_ptr<DeviceState> state;
  };

  void grant(SessionAddress to, std::unique_ptr<DeviceState> state, Epoch epoch) override {
    grants.push_back({to, epoch, std::move(state)});
  }
  void refuse(SessionAddress to, EndReason reason) override { refusals.emplace_back(to, reason); }
  void fence(SessionAddress owner, Epoch epoch, const Claim& by) override {
    fences.emplace_back(owner, epoch);
    fenced_by.push_back(by.peer);
  }
  void presence(DeviceState& state, bool online, Epoch epoch, EndReason reason) override {
    presences.push_back({state.id.str(), online, epoch, reason, state.since_unix_ms});
    if (online) state.since_unix_ms = now_unix_ms;
  }
  void hold_ended(const DeviceState& state, Epoch epoch, HoldEnd how) override {
    hold_ends.push_back({state.id.str(), epoch, how, state.since_unix_ms});
  }

  std::vector<Grant> grants;
  std::vector<std::pair<SessionAddress, EndReason>> refusals;
  std::vector<std::pair<SessionAddress, Epoch>> fences;
  std::vector<std::string> fenced_by;
  std::vector<Presence> presences;
  std::vector<Hold> hold_ends;
  std::int64_t now_unix_ms = 1'000;
};

class OwnershipTest : public testing::Test {
 protected:
  Ownership make(OwnershipLimits limits = {}) {
    return Ownership(limits, recorder,
                     [](const DeviceId& device) { return std::make_unique<DeviceState>(device, 1'024); });
  }
  // With the next epoch.
  Claim by(SessionAddress from, DeviceProfile profile = {}) {
    return {from, std::move(profile), {++last_epoch}, "peer-" + std::to_string(from.ref.slot)};
  }

  // A minute after 1970, by the wall clock, is `now`.
  ConnectionEnd ended(EndReason reason) const { return {reason, now, k_end_unix_ms}; }

  static constexpr std::int64_t k_end_unix_ms = 60'000;
  Recorder recorder;
  std::uint64_t last_epoch = 100;
  Ownership::TimePoint now = Ownership::TimePoint() + 1h;
};

}  // namespace fieldgate
