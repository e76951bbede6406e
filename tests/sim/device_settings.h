// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"
#include "tests/sim/frames.h"

#include "fieldgate/v1/device.pb.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::sim {

// How a device behaves. docs/simulator.md has an example of each.
enum class Profile : std::uint8_t {
  steady,       // evenly spaced frames
  burst,        // the same average, several at a time
  flapping,     // steady, and disconnects every few seconds, cleanly or not
  slow_reader,  // steady, and hardly reads what it is sent
  silent,       // connects, answers pings, sends nothing
  storm,        // steady, and the whole fleet drops and returns at once
};

// One for all devices; immutable while they run.
struct DeviceSettings {
  std::string id_prefix = "sim-";
  std::uint32_t first_index = 1;
  Profile profile = Profile::steady;
  double frames_per_second = 1.0;
  unsigned burst_frames = 20;
  FrameShape shape;
  // Every so many data frames one is an event, a state, an opaque; 0: never.
  unsigned event_every = 0;
  unsigned state_every = 0;
  unsigned opaque_every = 0;
  v1::AckStage stage = v1::ACK_STAGE_UNSPECIFIED;
  std::uint32_t heartbeat_seconds = 0;
  std::uint32_t receive_max_bytes = 4'096;
  std::vector<std::pair<std::string, std::string>> labels;
  // Besides: a key whose value goes round the devices, by their index.
  struct VariedLabel {
    std::string key;
    std::vector<std::string> values;  // 1 or more
  };
  std::vector<VariedLabel> varied_labels;
  std::string firmware = "sim-" FIELDGATE_VERSION;
  bool duties = false;  // take commands and keep a twin
  // The send buffer of one device: when it is full, no new frame is made.
  std::uint64_t buffer_frames_max = 1'024;
  std::uint64_t buffer_bytes_max = 262'144;
  std::int64_t time_request_us = 300 * k_second_us;  // 0: never
  std::int64_t backoff_base_us = 1 * k_second_us;
  std::int64_t backoff_max_us = 60 * k_second_us;
  std::int64_t connect_timeout_us = 30 * k_second_us;  // connect() to WebSocket open
  // Connections of one thread between connect() and Welcome; the others wait their
  // turn. Else a thread that cannot keep up would let all of them run into their
  // deadlines, and tell of itself instead of the gateway. 0: no limit.
  std::uint32_t connecting_max = 256;
  std::int64_t welcome_timeout_us = 10 * k_second_us;
  std::int64_t flap_every_us = 5 * k_second_us;     // flapping: mean time connected
  std::int64_t storm_every_us = 15 * k_second_us;   // storm: between two drops of all
  std::int64_t return_within_us = 1 * k_second_us;  // flapping, storm: back after at most this
};

// PREFIX and the index in six digits: sim-000001.
std::string device_id(const DeviceSettings& settings, std::uint32_t index);

}  // namespace fieldgate::sim
