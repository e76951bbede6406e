// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fieldgate::sim {

// Durations in microseconds, in log-linear buckets: 128 to each power of two, so
// that a quantile is within 0.4 % of the exact one (exact below 256 us).
// Bounds: at most 4,608 buckets (37 KB); values above 2^42 us (50 days) count as that.
class Histogram {
 public:
  // A negative value counts as 0: two clocks may disagree by a little.
  void add(std::int64_t value_us);
  void merge(const Histogram& other);

  std::uint64_t count() const noexcept { return count_; }
  std::int64_t max_us() const noexcept { return max_us_; }
  // Nearest rank: the smallest value that at least q * count() values do not
  // exceed. 0 if there are none.
  std::int64_t quantile_us(double q) const noexcept;
  double quantile_ms(double q) const noexcept { return static_cast<double>(quantile_us(q)) / 1000.0; }

 private:
  std::vector<std::uint64_t> buckets_;
  std::uint64_t count_ = 0;
  std::int64_t max_us_ = 0;
};

}  // namespace fieldgate::sim
