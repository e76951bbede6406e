// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

namespace fieldgate {

// A counter with one writing thread and any number of readers. An add is a plain
// load, add and store: no locked instruction.
class Cell {
 public:
  void add(std::uint64_t n = 1) noexcept { value_.store(get() + n, std::memory_order_relaxed); }
  void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// A gauge with one writing thread. Change it through GaugeHold only.
class GaugeCell {
 public:
  std::int64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  friend class GaugeHold;
  void add(std::int64_t n) noexcept { value_.store(get() + n, std::memory_order_relaxed); }
  std::atomic<std::int64_t> value_{0};
};

// Counts one in a gauge for as long as it lives. Move-only.
// Thread: made, moved and destroyed on the gauge's writing thread.
class GaugeHold {
 public:
  GaugeHold() noexcept = default;
  explicit GaugeHold(GaugeCell& gauge) noexcept : gauge_(&gauge) { gauge.add(1); }
  GaugeHold(GaugeHold&& other) noexcept : gauge_(other.gauge_) { other.gauge_ = nullptr; }
  GaugeHold& operator=(GaugeHold&& other) noexcept {
    if (this != &other) {
      reset();
      gauge_ = other.gauge_;
      other.gauge_ = nullptr;
    }
    return *this;
  }
  ~GaugeHold() { reset(); }
  void reset() noexcept {
    if (gauge_ != nullptr) gauge_->add(-1);
    gauge_ = nullptr;
  }

 private:
  GaugeCell* gauge_ = nullptr;
};

// When something was done last, with one writing thread; at first it never was.
class MomentCell {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  void set(TimePoint at) noexcept { ticks_.store(at.time_since_epoch().count(), std::memory_order_relaxed); }
  std::optional<TimePoint> get() const noexcept {
    const TimePoint::rep ticks = ticks_.load(std::memory_order_relaxed);
    if (ticks == k_never) return std::nullopt;
    return TimePoint(TimePoint::duration(ticks));
  }

 private:
  static constexpr TimePoint::rep k_never = std::numeric_limits<TimePoint::rep>::min();
  std::atomic<TimePoint::rep> ticks_{k_never};
};

// A histogram of durations with one writing thread.
// Units: microseconds in, bucket bounds in microseconds.
class HistogramCell {
 public:
  static constexpr std::array<std::uint64_t, 16> k_bounds_us = {
      100,    250,     500,     1'000,   2'500,     5'000,     10'000,     25'000,
      50'000, 100'000, 250'000, 500'000, 1'000'000, 2'500'000, 10'000'000, 60'000'000};

  void observe(std::uint64_t us) noexcept {
    std::size_t i = 0;
    while (i < k_bounds_us.size() && us > k_bounds_us[i]) ++i;
    buckets_[i].add();
    sum_us_.add(us);
  }
  // Observations in bucket `i` alone (not cumulative); the last is +Inf.
  std::uint64_t bucket(std::size_t i) const noexcept { return buckets_[i].get(); }
  std::uint64_t sum_us() const noexcept { return sum_us_.get(); }
  static constexpr std::size_t k_buckets = k_bounds_us.size() + 1;

 private:
  std::array<Cell, k_buckets> buckets_;
  Cell sum_us_;
};

}  // namespace fieldgate
