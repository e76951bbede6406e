// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace fieldgate::sim {
namespace {

constexpr unsigned k_sub_bits = 7;
constexpr std::uint64_t k_value_max = (std::uint64_t{1} << 42) - 1;

// The bucket of `value` is its top 8 bits, counted on from power to power.
std::size_t bucket_of(std::uint64_t value) noexcept {
  const auto width = static_cast<unsigned>(std::bit_width(value));
  const unsigned shift = width > k_sub_bits + 1 ? width - (k_sub_bits + 1) : 0;
  return (static_cast<std::size_t>(shift) << k_sub_bits) + static_cast<std::size_t>(value >> shift);
}

// The middle of a bucket.
std::int64_t value_of(std::size_t bucket) noexcept {
  constexpr std::size_t k_first = std::size_t{1} << (k_sub_bits + 1);
  if (bucket < k_first) return static_cast<std::int64_t>(bucket);
  const std::size_t shift = (bucket >> k_sub_bits) - 1;
  const std::uint64_t low = static_cast<std::uint64_t>(bucket - (shift << k_sub_bits)) << shift;
  return static_cast<std::int64_t>(low + (std::uint64_t{1} << shift) / 2);
}

}  // namespace

void Histogram::add(std::int64_t value_us) {
  const std::uint64_t value = std::min(value_us < 0 ? 0 : static_cast<std::uint64_t>(value_us), k_value_max);
  const std::size_t bucket = bucket_of(value);
  if (bucket >= buckets_.size()) buckets_.resize(bucket + 1);
  ++buckets_[bucket];
  ++count_;
  max_us_ = std::max(max_us_, static_cast<std::int64_t>(value));
}

void Histogram::merge(const Histogram& other) {
  if (other.buckets_.size() > buckets_.size()) buckets_.resize(other.buckets_.size());
  for (std::size_t i = 0; i < other.buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_us_ = std::max(max_us_, other.max_us_);
}

std::int64_t Histogram::quantile_us(double q) const noexcept {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_));
  const std::uint64_t rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::min(value_of(i), max_us_);
  }
  return max_us_;
}

}  // namespace fieldgate::sim
