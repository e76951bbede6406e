// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_marks.h"
#include "gateway/core/record.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fieldgate::uplink {

// What the log says of every device: the sum of its records, so that a process that
// starts need not read them all. Applying a record twice, or an old one after newer
// ones, changes nothing.
// Thread: one at a time.
// Bounds: devices_max devices, about 250 bytes each; beyond it a 64th of all is
//         forgotten at once: first those that are offline, and of these first those
//         whose newest record is oldest.
class StreamLedger {
 public:
  explicit StreamLedger(std::size_t devices_max = 200'000) : devices_max_(devices_max) {}

  // The devices as of a checkpoint. Before anything else, once.
  void restore(std::vector<DeviceMarks> devices);
  // Every record of `block`. About one hash look-up each.
  void apply(const RecordBlock& block);

  struct Changes {
    std::vector<DeviceMarks> changed;
    std::vector<DeviceId> gone;  // forgotten for want of room
  };
  // All since the last call.
  Changes take_changes();

  std::size_t size() const noexcept { return devices_.size(); }
  // Every device, in no order.
  std::vector<DeviceMarks> all() const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const noexcept { return std::hash<std::string_view>{}(id); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const noexcept { return a == b; }
  };
  struct Entry {
    DeviceMarks marks;
    LogPosition newest;  // its newest record; restored: the newest with data
    Epoch presence{};    // of the newest presence record; restored: 0
    bool changed = false;
    bool gone = false;  // about to be forgotten
  };

  Entry* find(std::string_view device);
  void apply(const RecordView& record, LogPosition position, Entry& entry);
  // `fresh`: nothing was known of that connection before.
  static void apply_presence(const RecordView& record, bool fresh, Entry& entry);
  void make_room();

  const std::size_t devices_max_;
  // Values stay where they are while others come and go.
  std::unordered_map<DeviceId, Entry, Hash, Equal> devices_;
  std::vector<Entry*> changed_;  // those with `changed`, each once
  std::vector<DeviceId> gone_;
};

}  // namespace fieldgate::uplink
