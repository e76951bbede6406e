// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/core/record.h"
#include "gateway/core/stream_marks.h"

#include <cstdint>

namespace fieldgate {

// A device as the log of earlier processes of this node knows it.
struct RestoredDevice {
  DeviceId id;
  StreamTable streams;  // received = logged = spooled; forwarded as far as is known
  Epoch epoch;
  // No process has said that it went offline: it ended with that process.
  bool was_online = false;
  std::int64_t since_unix_ms = 0;  // of the last online or offline
  std::int64_t last_data_unix_ms = 0;
  LaneSet presence_lanes = k_every_lane;  // of its newest presence record
};

}  // namespace fieldgate
