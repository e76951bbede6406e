// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/core/last_values.h"
#include "gateway/core/record.h"
#include "gateway/core/stream_marks.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate {

// What a device says about itself in Hello.
struct DeviceProfile {
  std::string firmware;
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by key
};

// What is remembered of a device from one connection to the next.
// Thread: one at a time. It moves: parked with its home shard while the device is
// offline, with the session's shard while it is connected.
struct DeviceState {
  DeviceState(DeviceId device, std::uint32_t last_values_bytes_max)
      : id(std::move(device)), last_values(last_values_bytes_max) {}

  DeviceId id;
  DeviceProfile profile;
  StreamTable streams;
  LastValues last_values;
  // Of the records of this connection, presence included: matched once, as it begins.
  LaneSet lanes = k_every_lane;
  std::int64_t since_unix_ms = 0;      // of the present online or offline
  std::int64_t last_seen_unix_ms = 0;  // last byte heard
  std::int64_t last_data_unix_ms = 0;  // last data frame; 0: none yet
};

}  // namespace fieldgate
