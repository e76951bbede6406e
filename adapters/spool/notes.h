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
  LogPosition after{};          // not before all this is durable
  LogPosition give_up_until{};  // added: until it is written no more of the log is given up
};
// Of what save_devices() was given all, or a part; the last part carries the
// checkpoint.
struct DeviceGroup {
  std::vector<DeviceMarks> changed;
  std::vector<DeviceId> gone;
  std::optional<LogPosition> checkpoint;
};
using Note = std::variant<LetterChange, std::vector<SavedLane>, DeviceGroup>;

// Whether it may be written, where everything <= `durable` is.
bool is_ready(const Note& note, LogPosition durable) noexcept;
// Moves out those that may not be; their order stays.
std::deque<Note> take_unready(std::deque<Note>& notes, LogPosition durable);

// Moves `from` behind `to`, with large groups of devices in parts, by rising id.
void move_in_parts(std::deque<Note>& from, std::deque<Note>& to);

}  // namespace fieldgate::spool
