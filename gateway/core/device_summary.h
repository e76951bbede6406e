// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate {

using Labels = std::vector<std::pair<std::string, std::string>>;  // sorted by key

// One device in lists: what the index filters and sorts by.
struct DeviceSummary {
  DeviceId id;
  bool online = false;
  Epoch epoch{};
  std::int64_t since_unix_ms = 0;      // of `online`'s present value
  std::int64_t last_seen_unix_ms = 0;  // last byte heard; in lists at most about 10 s behind
  std::int64_t last_data_unix_ms = 0;  // last data frame; 0: none yet
  std::string firmware{};
  Labels labels{};
  std::string reason{};  // offline only: name of the EndReason
  std::string node{};    // that it is or was connected to; empty: the one that says so
};

// Time stamps alone, of many devices at once.
struct SeenUpdate {
  DeviceId id;
  Epoch epoch{};
  std::int64_t last_seen_unix_ms = 0;
  std::int64_t last_data_unix_ms = 0;
};

}  // namespace fieldgate
