// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fieldgate {

// Values that many hold, each kept once: a number stands for it. 0 is the empty value,
// and always there.
// Thread: one at a time.
// Bounds: a value nobody holds any more is forgotten, and its number given out anew.
template <class T, class Hash = std::hash<T>>
class Dictionary {
 public:
  using Number = std::uint32_t;

  Dictionary() { hold(T{}); }
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;

  // One more holder of `value`.
  Number hold(const T& value) {
    const auto [at, fresh] = numbers_.try_emplace(value);
    if (fresh) {
      at->second.number = free_.empty() ? static_cast<Number>(values_.size()) : free_.back();
      if (free_.empty()) {
        values_.push_back(&at->first);
      } else {
        values_[free_.back()] = &at->first;
        free_.pop_back();
      }
    }
    ++at->second.holders;
    return at->second.number;
  }

  void drop(Number number) {
    if (number == 0) return;
    const auto at = numbers_.find(*values_[number]);
    if (--at->second.holders > 0) return;
    values_[number] = nullptr;
    free_.push_back(number);
    numbers_.erase(at);
  }

  // Holds `value` instead of what `number` stands for.
  void exchange(Number& number, const T& value) {
    if (*values_[number] == value) return;
    const Number fresh = hold(value);
    drop(std::exchange(number, fresh));
  }

  const T& operator[](Number number) const { return *values_[number]; }

  // The number of `value`, if anybody holds it.
  const Number* find(const T& value) const {
    const auto at = numbers_.find(value);
    return at == numbers_.end() ? nullptr : &at->second.number;
  }

  // Every number is below this.
  std::size_t numbers_end() const noexcept { return values_.size(); }
  template <class Fn>
  void for_each(Fn fn) const {
    for (Number i = 0; i < values_.size(); ++i) {
      if (values_[i] != nullptr) fn(i, *values_[i]);
    }
  }

 private:
  struct Entry {
    Number number = 0;
    std::uint64_t holders = 0;
  };
  std::unordered_map<T, Entry, Hash> numbers_;  // whose keys stay where they are
  std::vector<const T*> values_;
  std::vector<Number> free_;
};

}  // namespace fieldgate
