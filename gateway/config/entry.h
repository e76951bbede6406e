// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/problem.h"

#include <cstdint>
#include <string>
#include <vector>

namespace fieldgate::config {

struct Entry;

// One key of a map and what it stands for.
struct Item;

// A configuration as it was written, whatever the notation: a tree of texts that
// remember their places. No map has the same key twice.
struct Entry {
  enum class Kind : std::uint8_t { null, text, list, map };

  Kind kind = Kind::null;
  Place place;
  std::string text;
  // ${VAR} in `text` stands for itself.
  bool literal = false;
  std::vector<Entry> elements;  // of a list
  std::vector<Item> items;      // of a map, as written

  const Item* find(std::string_view key) const noexcept;
  Item* find(std::string_view key) noexcept;
};

struct Item {
  std::string key;
  Place key_place;
  Entry value;
};

inline const Item* Entry::find(std::string_view key) const noexcept {
  for (const Item& item : items) {
    if (item.key == key) return &item;
  }
  return nullptr;
}

inline Item* Entry::find(std::string_view key) noexcept {
  for (Item& item : items) {
    if (item.key == key) return &item;
  }
  return nullptr;
}

}  // namespace fieldgate::config
