// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/last_values.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace fieldgate {
namespace {

// Enough to tell names of one length apart nearly always; the names themselves
// decide.
std::uint16_t hash_of(std::string_view name) noexcept {
  std::uint32_t hash = 0;
  for (const char c : name) hash = hash * 31 + static_cast<unsigned char>(c);
  return static_cast<std::uint16_t>(hash ^ hash >> 16);
}

std::string_view text_of(const MetricValue& value) noexcept {
  if (const auto* text = std::get_if<std::string_view>(&value)) return *text;
  if (const auto* bytes = std::get_if<MetricBytes>(&value)) return bytes->data;
  return {};
}

}  // namespace

std::string_view LastValues::name_of(const Entry& entry) const noexcept {
  return {arena_.data() + entry.offset, entry.name_bytes};
}

MetricValue LastValues::value_of(const Entry& entry) const noexcept {
  const char* text = arena_.data() + entry.offset + entry.name_bytes;
  switch (entry.type) {
    case Type::real: return std::bit_cast<double>(entry.scalar);
    case Type::integer: return static_cast<std::int64_t>(entry.scalar);
    case Type::boolean: return entry.scalar != 0;
    case Type::text: return std::string_view(text, entry.scalar);
    case Type::bytes: return MetricBytes{{text, entry.scalar}};
  }
  return 0.0;
}

void LastValues::update(std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality) {
  if (name.size() > k_name_bytes_max) {
    truncated_ = true;
    return;
  }
  std::size_t at = find(name);
  const bool known = at < entries_.size();
  if (known && entries_[at].unix_ms > unix_ms) return;
  const std::string_view text = text_of(value);
  const std::size_t need = name.size() + text.size();
  if (!known || need > entries_[at].arena_bytes) {
    if (known) drop(at);
    if (!make_room(need)) {
      truncated_ = true;
      return;
    }
    at = add(name, need, at);
  }
  store(entries_[at], value, text);
  entries_[at].unix_ms = unix_ms;
  entries_[at].quality = quality;
  entries_[at].updated = ++ticks_;
}

void LastValues::store(Entry& entry, const MetricValue& value, std::string_view text) noexcept {
  entry.type = static_cast<Type>(value.index());
  if (const auto* real = std::get_if<double>(&value)) {
    entry.scalar = std::bit_cast<std::uint64_t>(*real);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    entry.scalar = static_cast<std::uint64_t>(*integer);
  } else if (const auto* boolean = std::get_if<bool>(&value)) {
    entry.scalar = *boolean ? 1 : 0;
  } else {
    entry.scalar = text.size();
    std::ranges::copy(text, arena_.begin() + entry.offset + entry.name_bytes);
  }
}

// Index of `name`, or size().
std::size_t LastValues::find(std::string_view name) noexcept {
  if (expected_ >= entries_.size()) expected_ = 0;
  if (!entries_.empty() && name_of(entries_[expected_]) == name) return expected_++;
  const std::uint16_t hash = hash_of(name);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].name_hash == hash && name_of(entries_[i]) == name) {
      expected_ = static_cast<std::uint16_t>(i + 1);
      return i;
    }
  }
  return entries_.size();
}

void LastValues::drop(std::size_t at) {
  arena_dead_ += entries_[at].arena_bytes;
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(at));
}

// Makes an entry for `name` with `need` bytes, near `at`: the device's order is kept.
// Precondition: make_room(need).
std::size_t LastValues::add(std::string_view name, std::size_t need, std::size_t at) {
  at = std::min(at, entries_.size());
  Entry entry{};
  entry.offset = static_cast<std::uint32_t>(arena_.size());
  entry.arena_bytes = static_cast<std::uint32_t>(need);
  entry.name_hash = hash_of(name);
  entry.name_bytes = static_cast<std::uint8_t>(name.size());
  arena_.resize(arena_.size() + need);
  std::ranges::copy(name, arena_.begin() + entry.offset);
  entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(at), entry);
  expected_ = static_cast<std::uint16_t>(at + 1);
  return at;
}

std::size_t LastValues::live_bytes() const noexcept {
  return entries_.size() * sizeof(Entry) + arena_.size() - arena_dead_;
}

// Room for one more entry with `need` bytes of arena. False if it can never fit.
bool LastValues::make_room(std::size_t need) {
  const std::size_t wanted = sizeof(Entry) + need;
  if (wanted > bytes_max_) return false;
  if (live_bytes() + wanted > bytes_max_ || entries_.size() >= k_metrics_max) {
    // An eighth more than needed: the next few newcomers find their room made.
    truncated_ = true;
    const std::size_t keep_bytes = (bytes_max_ - wanted) / 8 * 7;
    const std::size_t keep_metrics = k_metrics_max / 8 * 7;
    while (!entries_.empty() && (live_bytes() > keep_bytes || entries_.size() > keep_metrics)) {
      const auto oldest = std::ranges::max_element(
          entries_, {}, [this](const Entry& entry) { return static_cast<std::uint32_t>(ticks_ - entry.updated); });
      drop(static_cast<std::size_t>(oldest - entries_.begin()));
    }
  }
  if (entries_.size() == entries_.capacity() || arena_.capacity() - arena_.size() < need) repack(need);
  return true;
}

// Moves everything into memory of the size it needs with one more entry, with an
// eighth to spare where the budget has it: a device's set of metrics settles at
// once and then stays, so that slack is memory for nothing.
void LastValues::repack(std::size_t need) {
  std::size_t entries_max = entries_.size() + 1;
  std::size_t arena_max = arena_.size() - arena_dead_ + need;
  const std::size_t tight = entries_max * sizeof(Entry) + arena_max;
  if (tight + tight / 8 <= bytes_max_) {
    entries_max += entries_max / 8;
    arena_max += arena_max / 8;
  }
  std::vector<Entry> entries;
  entries.reserve(entries_max);
  std::vector<char> arena;
  arena.reserve(arena_max);
  for (Entry entry : entries_) {
    const auto from = arena_.begin() + entry.offset;
    entry.offset = static_cast<std::uint32_t>(arena.size());
    arena.insert(arena.end(), from, from + entry.arena_bytes);
    entries.push_back(entry);
  }
  entries_ = std::move(entries);
  arena_ = std::move(arena);
  arena_dead_ = 0;
}

}  // namespace fieldgate
