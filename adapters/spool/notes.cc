// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/notes.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace fieldgate::spool {
namespace {

// Devices whose rows change in one part: with no room to spare a transaction must
// be able to get by with as few pages.
constexpr std::size_t k_part = 250;

template <class T, class ById>
void sort_by_id(std::vector<T>& rows, ById by_id) {
  std::ranges::sort(rows, {}, by_id);  // neighbours share pages
}

// Up to `room` of `rows`, from `at` on.
template <class T>
std::vector<T> cut(std::vector<T>& rows, std::size_t& at, std::size_t room) {
  const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(at);
  const auto end = begin + static_cast<std::ptrdiff_t>(std::min(room, rows.size() - at));
  at += static_cast<std::size_t>(end - begin);
  return {std::make_move_iterator(begin), std::make_move_iterator(end)};
}

void move_in_parts(DeviceGroup group, std::deque<Note>& to) {
  sort_by_id(group.changed, [](const DeviceMarks& marks) -> const std::string& { return marks.device.str(); });
  sort_by_id(group.gone, [](const DeviceId& id) -> const std::string& { return id.str(); });
  std::size_t changed = 0;
  std::size_t gone = 0;
  for (;;) {
    DeviceGroup part;
    part.changed = cut(group.changed, changed, k_part);
    part.gone = cut(group.gone, gone, k_part - part.changed.size());
    const bool last = changed == group.changed.size() && gone == group.gone.size();
    if (last) part.checkpoint = group.checkpoint;
    to.emplace_back(std::move(part));
    if (last) return;
  }
}

}  // namespace

bool is_ready(const Note& note, LogPosition durable) noexcept {
  const auto* letter = std::get_if<LetterChange>(&note);
  return letter == nullptr || letter->after <= durable;
}

std::deque<Note> take_unready(std::deque<Note>& notes, LogPosition durable) {
  const auto ready = [durable](const Note& note) { return is_ready(note, durable); };
  const auto unready = std::ranges::stable_partition(notes, ready);
  std::deque<Note> taken(std::make_move_iterator(unready.begin()), std::make_move_iterator(unready.end()));
  notes.erase(unready.begin(), unready.end());
  return taken;
}

void move_in_parts(std::deque<Note>& from, std::deque<Note>& to) {
  for (Note& note : from) {
    if (auto* group = std::get_if<DeviceGroup>(&note)) {
      move_in_parts(std::move(*group), to);
    } else {
      to.push_back(std::move(note));
    }
  }
  from.clear();
}

}  // namespace fieldgate::spool
