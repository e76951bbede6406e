// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/device.h"

#include "fieldgate/v1/device.pb.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace fieldgate::sim {

// Writes down what a device does to its connection.
class FakeLink final : public DeviceLink {
 public:
  void connect() override { ++connects; }
  void send(std::string_view message) override {
    v1::DeviceFrame frame;
    EXPECT_TRUE(frame.ParseFromArray(message.data(), static_cast<int>(message.size())));
    sent.push_back(frame);
  }
  void ping() override { ++pings; }
  void close(std::uint16_t code) override { closed_with = code; }
  void drop(bool by_reset) override { by_reset ? ++resets : ++drops; }
  bool congested() const override { return is_congested; }

  // The sequence numbers of the data frames sent since the last call.
  std::vector<std::uint64_t> take_seqs() {
    std::vector<std::uint64_t> seqs;
    for (const v1::DeviceFrame& frame : sent) {
      if (frame.seq() != 0) seqs.push_back(frame.seq());
    }
    sent.clear();
    return seqs;
  }

  int connects = 0;
  int pings = 0;
  int resets = 0;
  int drops = 0;
  bool is_congested = false;
  std::optional<std::uint16_t> closed_with;
  std::vector<v1::DeviceFrame> sent;
};

// One device, its context, and a clock that only moves when told.
class DeviceTest : public testing::Test {
 protected:
  static constexpr std::int64_t k_ms = 1'000;

  DeviceTest() {
    settings_.frames_per_second = 10;
    settings_.time_request_us = 0;
  }

  void make(std::uint64_t seed = 1) {
    context_ = std::make_unique<DeviceContext>(settings_, seed);
    device_ = std::make_unique<Device>(*context_, 0, link_);
    device_->start(now_.mono_us, now_.mono_us);
  }

  // Lets time pass, waking the device whenever it asks for it.
  void pass(std::int64_t us) {
    const std::int64_t until = now_.mono_us + us;
    for (int wakes = 0; device_->next_wake_us() <= until; ++wakes) {
      ASSERT_LT(wakes, 100'000) << "the device asks to be woken again and again";
      const std::int64_t step = std::max<std::int64_t>(0, device_->next_wake_us() - now_.mono_us);
      now_.mono_us += step;
      now_.wall_us += step;
      device_->wake(now_);
    }
    now_.wall_us += until - now_.mono_us;
    now_.mono_us = until;
  }

  void receive(const v1::GatewayFrame& frame) {
    device_->on_heard(now_);
    device_->on_message(frame.SerializeAsString(), now_);
  }

  v1::GatewayFrame welcome(std::uint64_t acked = 0, std::uint64_t received = 0) const {
    v1::GatewayFrame frame;
    v1::Welcome& welcome = *frame.mutable_welcome();
    welcome.set_epoch(5);
    welcome.set_ack_stage(v1::ACK_STAGE_FORWARDED);
    welcome.mutable_credit()->set_frames(8);
    welcome.mutable_credit()->set_bytes(100'000);
    welcome.set_heartbeat_seconds(30);
    welcome.set_acked_through(acked);
    welcome.set_received_through(received);
    return frame;
  }

  void ack(std::uint64_t through) {
    v1::GatewayFrame frame;
    frame.mutable_ack()->set_through(through);
    receive(frame);
  }

  void throttle(std::uint32_t frames, std::uint64_t bytes) {
    v1::GatewayFrame frame;
    frame.mutable_throttle()->mutable_credit()->set_frames(frames);
    frame.mutable_throttle()->mutable_credit()->set_bytes(bytes);
    receive(frame);
  }

  void goodbye(v1::GoodbyeReason reason, std::uint32_t after_ms = 0) {
    v1::GatewayFrame frame;
    frame.mutable_goodbye()->set_reason(reason);
    frame.mutable_goodbye()->set_reconnect_after_ms(after_ms);
    receive(frame);
  }

  void open() {
    pass(0);
    ASSERT_EQ(device_->phase(), Device::Phase::connecting);
    device_->on_open(now_);
  }

  // From waiting to online, with nothing made yet.
  void go_online() {
    open();
    link_.sent.clear();
    receive(welcome());
    ASSERT_TRUE(device_->online());
  }

  // How long the device waits before it connects again.
  std::int64_t delay_us() const { return device_->next_wake_us() - now_.mono_us; }

  const Stats& stats() const { return context_->stats; }
  std::uint64_t violations(const std::string& which) const {
    const auto found = stats().violations.find(which);
    return found == stats().violations.end() ? 0 : found->second;
  }

  DeviceSettings settings_;
  FakeLink link_;
  Now now_{1'000 * k_second_us, 1'763'792'000 * k_second_us};
  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<Device> device_;
};

}  // namespace fieldgate::sim
