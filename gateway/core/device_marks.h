// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/core/record.h"

#include <array>
#include <cstdint>

namespace fieldgate {

// How far one stream of a device has got in the uplink log.
struct StreamMark {
  StreamId id;           // 0: none
  Seq logged;            // highest in the log
  LogPosition position;  // of that record
  friend bool operator==(const StreamMark&, const StreamMark&) = default;
};

// What the log itself says of one device: from this a process that starts knows
// where every device stood when the last one ended.
struct DeviceMarks {
  DeviceId device;
  std::array<StreamMark, 2> streams;  // [0]: the one that sent last
  Epoch epoch;                        // of the newest record
  bool online = false;                // its newest presence record said so
  std::int64_t since_unix_ms = 0;     // of `online`; 0: no presence record seen
  std::int64_t last_data_unix_ms = 0;
  // Of its newest presence record: whoever was told "online" is told "offline" too.
  LaneSet presence_lanes = k_every_lane;
  friend bool operator==(const DeviceMarks&, const DeviceMarks&) = default;
};

}  // namespace fieldgate
