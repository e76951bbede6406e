// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

// A text for each of many rows, side by side in memory, so that looking for something in
// all of them, row after row, goes straight through it.
// Thread: one at a time.
// Bounds: takes at most about twice the texts it holds.
class TextShelf {
 public:
  // `row` is at most one beyond the last.
  void put(std::size_t row, std::string_view text) {
    if (row == slots_.size()) slots_.emplace_back();
    Slot& slot = slots_[row];
    used_ -= slot.size;
    if (text.size() > slot.size) {
      slot.begin = bytes_.size();
      bytes_ += text;
    } else {
      bytes_.replace(slot.begin, text.size(), text);
    }
    slot.size = static_cast<std::uint32_t>(text.size());
    used_ += slot.size;
    if (bytes_.size() > 2 * used_ + k_waste_min) pack();
  }

  // The last row takes the place of `row`.
  void remove(std::size_t row) {
    used_ -= slots_[row].size;
    slots_[row] = slots_.back();
    slots_.pop_back();
  }

  std::string_view operator[](std::size_t row) const {
    return std::string_view(bytes_).substr(slots_[row].begin, slots_[row].size);
  }

 private:
  static constexpr std::size_t k_waste_min = 65'536;
  struct Slot {
    std::size_t begin = 0;
    std::uint32_t size = 0;
  };

  void pack() {
    std::string packed;
    packed.reserve(used_ + used_ / 2);
    for (Slot& slot : slots_) {
      const std::size_t begin = packed.size();
      packed.append(bytes_, slot.begin, slot.size);
      slot.begin = begin;
    }
    bytes_ = std::move(packed);
  }

  std::string bytes_;
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

}  // namespace fieldgate
