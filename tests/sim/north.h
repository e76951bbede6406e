// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/tally.h"

#include "fieldgate/v1/northbound.pb.h"

#include <cstdint>
#include <string_view>

namespace fieldgate::sim {

// One MQTT message as the broker delivered it.
struct NorthMessage {
  std::string_view topic;
  std::string_view payload;
  // User properties; empty where there is none of that name.
  std::string_view device;
  std::string_view stream;
  std::string_view seq;
  std::int64_t received_wall_us = 0;
};

// Turns the gateway's messages into records of a Tally: batches by what they
// hold, per-device messages by their user properties, whatever the payload.
class NorthReader {
 public:
  explicit NorthReader(std::string_view prefix) : batches_(std::string(prefix) + "/batches/") {}

  void on_message(const NorthMessage& message);

  const Tally& tally() const noexcept { return tally_; }
  std::uint64_t messages() const noexcept { return messages_; }
  std::uint64_t presence_records() const noexcept { return presence_records_; }
  // Neither a batch nor properly labelled.
  std::uint64_t unreadable() const noexcept { return unreadable_; }

 private:
  void batch(const NorthMessage& message);
  void single(const NorthMessage& message);

  std::string batches_;
  Tally tally_;
  std::uint64_t messages_ = 0;
  std::uint64_t presence_records_ = 0;
  std::uint64_t unreadable_ = 0;
  v1::RecordBatch batch_;  // reused
  v1::DeviceFrame frame_;  // reused
};

}  // namespace fieldgate::sim
