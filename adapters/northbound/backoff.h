// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace fieldgate::northbound {

// Full-jitter exponential back-off: the n-th delay is drawn evenly between min
// and min(max, min * 2^n).
// Thread: one.
class Backoff {
 public:
  using milliseconds = std::chrono::milliseconds;

  Backoff(milliseconds min, milliseconds max, std::uint64_t seed)
      : min_(std::max(min, milliseconds(1))), max_(std::max(max, min_)), random_(seed) {}

  milliseconds next() {
    cap_ = cap_.count() == 0 ? std::min(max_, 2 * min_) : std::min(max_, 2 * cap_);
    std::uniform_int_distribution<milliseconds::rep> draw(min_.count(), cap_.count());
    return milliseconds(draw(random_));
  }
  void reset() noexcept { cap_ = milliseconds(0); }

 private:
  milliseconds min_;
  milliseconds max_;
  milliseconds cap_{0};
  std::mt19937_64 random_;
};

}  // namespace fieldgate::northbound
