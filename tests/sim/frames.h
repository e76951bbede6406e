// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"

#include "fieldgate/v1/device.pb.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The data frames that simulated devices send, and the check of what has become
// of them at the far end. Each carries when it was made ("sent_us", microseconds
// since 1970) and a checksum over its device, stream, sequence number and values
// ("check"), so that a record which was changed, or filed under another device,
// stands out.
namespace fieldgate::sim {

struct FrameShape {
  unsigned metrics = 6;        // in telemetry; at least 2: sent_us and check
  unsigned payload_bytes = 0;  // padding, as string metrics of at most 1,024 bytes
};

// Checksum state after the device id and the stream.
std::uint64_t check_seed(std::string_view device, std::uint64_t stream) noexcept;

// Builds frames into a reused buffer. Telemetry, which is nearly all of the
// traffic, is a prepared message with the changing fields patched in.
// Thread: one instance per thread.
class FrameFactory {
 public:
  explicit FrameFactory(const FrameShape& shape);

  // Each replaces `out` with a serialized DeviceFrame.
  void telemetry(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, Rng& rng, std::string& out);
  void event(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, std::string& out);
  void state(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, std::string& out);
  void opaque(std::uint64_t seed, std::uint64_t seq, std::int64_t wall_us, std::string& out);

 private:
  std::string body_;  // a DeviceFrame without its seq
  std::size_t time_at_ = 0;
  std::size_t sent_at_ = 0;
  std::size_t check_at_ = 0;
  std::vector<std::size_t> values_at_;
  std::vector<std::string> pads_;
  v1::DeviceFrame scratch_;
};

struct Inspection {
  std::int64_t sent_us = 0;
  bool intact = false;  // the checksum fits
};

// Reads a frame back. nullopt: not one of FrameFactory's.
std::optional<Inspection> inspect(const v1::DeviceFrame& frame, std::string_view device, std::uint64_t stream);

}  // namespace fieldgate::sim
