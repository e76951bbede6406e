// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/core/record.h"

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

namespace fieldgate {

// A record of a device that somebody watches, whole.
struct TappedRecord {
  RecordKind kind = RecordKind::telemetry;
  std::string device;
  std::string name;  // as in RecordView
  StreamId stream;
  Seq seq;
  Epoch epoch;
  std::int64_t received_unix_ms = 0;
  std::vector<std::byte> payload;  // the DeviceFrame as it arrived
};

// Devices whose records are to be shown as they come.
using WatchSet = std::unordered_set<DeviceId>;
using WatchSetPtr = std::shared_ptr<const WatchSet>;

// Gets the records of watched devices, besides and apart from their way north.
// Thread: any; never waits, and drops what it has no room for.
class LiveTap {
 public:
  virtual ~LiveTap() = default;
  virtual void tapped(TappedRecord record) = 0;
};

}  // namespace fieldgate
