// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"

#include <algorithm>
#include <cstdint>

namespace fieldgate::sim {

// Keeps a device below the rates that Welcome.limits states: a token bucket that
// fills at nine tenths of the rate and holds half a second of it.
class Pacer {
 public:
  // 0: no limit. The bucket starts full.
  void set_rate(double per_second, std::int64_t now_us) noexcept {
    rate_ = per_second * 0.9;
    level_ = most();
    at_us_ = now_us;
  }
  // When `amount` may go; `now_us` if at once. What exceeds the bucket waits
  // until it is full.
  std::int64_t ready_at(double amount, std::int64_t now_us) noexcept {
    if (rate_ <= 0) return now_us;
    level_ = std::min(most(), level_ + rate_ * static_cast<double>(now_us - at_us_) / 1e6);
    at_us_ = now_us;
    const double lacking = std::min(amount, most()) - level_;
    return lacking <= 0 ? now_us : now_us + 1 + static_cast<std::int64_t>(lacking / rate_ * 1e6);
  }
  void spend(double amount) noexcept {
    if (rate_ > 0) level_ -= amount;
  }

 private:
  double most() const noexcept { return std::max(1.0, rate_ / 2); }

  double rate_ = 0;
  double level_ = 0;
  std::int64_t at_us_ = 0;
};

}  // namespace fieldgate::sim
