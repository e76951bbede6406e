// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/metric_value.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fieldgate {

// The last value of each metric of one device.
// Thread: one, that of the shard that keeps it.
// Bounds: bytes_max bytes of memory and k_metrics_max metrics. Where a new value
//         needs room, the metrics that were updated least recently go, and
//         truncated() says so from then on.
// Cost:   32 bytes and the name for each metric, and the value if it is text or
//         bytes. An update is a comparison with the metric expected next, since
//         devices send theirs in the same order; out of order, a scan.
class LastValues {
 public:
  static constexpr std::size_t k_metrics_max = 1'024;
  static constexpr std::size_t k_name_bytes_max = 255;

  explicit LastValues(std::uint32_t bytes_max) noexcept : bytes_max_(bytes_max) {}

  // Takes the value over unless a newer one is kept (`unix_ms` is the later). One
  // that cannot fit by itself only removes what it would have replaced.
  void update(std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality);

  // Calls visit(std::string_view name, const MetricValue&, std::int64_t unix_ms,
  // MetricQuality) for each metric, in no particular order. What it is given is
  // borrowed for the call.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const Entry& entry : entries_) visit(name_of(entry), value_of(entry), entry.unix_ms, entry.quality);
  }

  std::size_t size() const noexcept { return entries_.size(); }
  bool truncated() const noexcept { return truncated_; }
  // Memory held outside of the object itself.
  std::size_t bytes() const noexcept { return entries_.capacity() * sizeof(Entry) + arena_.capacity(); }

 private:
  enum class Type : std::uint8_t { real, integer, boolean, text, bytes };

  // Name and, for text and bytes, value lie in the arena, one after the other.
  struct Entry {
    std::int64_t unix_ms;
    std::uint64_t scalar;  // the bits of a number; the length of text and bytes
    std::uint32_t offset;
    std::uint32_t arena_bytes;  // room reserved, at least name and value
    std::uint32_t updated;      // ticks_ at the last update
    std::uint16_t name_hash;
    std::uint8_t name_bytes;
    Type type : 4;
    MetricQuality quality : 4;
  };
  static_assert(sizeof(Entry) == 32);

  std::string_view name_of(const Entry& entry) const noexcept;
  MetricValue value_of(const Entry& entry) const noexcept;
  void store(Entry& entry, const MetricValue& value, std::string_view text) noexcept;
  std::size_t find(std::string_view name) noexcept;
  void drop(std::size_t at);
  std::size_t add(std::string_view name, std::size_t need, std::size_t at);
  std::size_t live_bytes() const noexcept;
  bool make_room(std::size_t need);
  void repack(std::size_t need);

  std::vector<Entry> entries_;
  std::vector<char> arena_;
  std::uint32_t bytes_max_;
  std::uint32_t ticks_ = 0;       // counts updates; wraps
  std::uint32_t arena_dead_ = 0;  // bytes of arena_ that no entry uses
  std::uint16_t expected_ = 0;    // index of the metric that probably comes next
  bool truncated_ = false;
};

}  // namespace fieldgate
