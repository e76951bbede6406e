// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/lmdb_dead_letters.h"
#include "gateway/core/device_marks.h"
#include "gateway/core/ids.h"
#include "gateway/ports/spool.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <variant>
#include <vector>

// What is to be written beside blocks.
namespace fieldgate::spool {

struct LetterChange {
  std::uint64_t id;
  LmdbDeadLetters::Change change;
};
// Of what save_devices() was given all, or a part; the last part carries the
// checkpoint.
struct DeviceGroup {
  std::vector<DeviceMarks> changed;
  std::vector<DeviceId> gone;
  std::optional<LogPosition> checkpoint;
};
using Note = std::variant<LetterChange, std::vector<SavedLane>, DeviceGroup>;

// Moves `from` behind `to`, with large groups of devices in parts, by rising id.
void move_in_parts(std::deque<Note>& from, std::deque<Note>& to);

}  // namespace fieldgate::spool
