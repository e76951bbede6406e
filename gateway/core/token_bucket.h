// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace fieldgate {

// A rate limit in eight bytes: rate and burst are passed in, for they are shared.
// Units: `now_ms` is monotonic and may wrap; `rate` is per second.
// Thread: one.
class TokenBucket {
 public:
  // Starts full.
  TokenBucket(std::uint32_t now_ms, double burst) noexcept : tokens_(static_cast<float>(burst)), last_ms_(now_ms) {}

  // Takes `cost` if it is there; else takes nothing.
  bool take(std::uint32_t now_ms, double cost, double rate, double burst) noexcept {
    refill(now_ms, rate, burst);
    if (static_cast<double>(tokens_) < cost) return false;
    tokens_ -= static_cast<float>(cost);
    return true;
  }

 private:
  void refill(std::uint32_t now_ms, double rate, double burst) noexcept {
    const std::uint32_t elapsed = now_ms - last_ms_;
    if (elapsed == 0) return;
    last_ms_ = now_ms;
    tokens_ = static_cast<float>(std::min(burst, static_cast<double>(tokens_) + rate * elapsed / 1000.0));
  }

  float tokens_;
  std::uint32_t last_ms_;
};

}  // namespace fieldgate
