// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_summary.h"
#include "gateway/core/ids.h"
#include "gateway/core/last_values.h"
#include "gateway/core/record.h"
#include "gateway/core/stream_marks.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate {

// What is known of a device beside its id.
struct DeviceProfile {
  std::string firmware;
  Labels labels;  // what it says in Hello, overlaid with the registry's
};

// `own`, but for the keys that `winning` has too.
inline Labels overlaid(const Labels& own, const Labels& winning) {
  Labels all;
  all.reserve(own.size() + winning.size());
  // Of two that are equal, the first range's is taken.
  constexpr auto key = &Labels::value_type::first;
  std::ranges::set_union(winning, own, std::back_inserter(all), {}, key, key);
  return all;
}

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
