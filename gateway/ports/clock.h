// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

namespace fieldgate {

using Monotonic = std::chrono::steady_clock::time_point;

// Time, so that tests can turn it by hand. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // For every timer, deadline and rate: never jumps.
  virtual Monotonic now() const noexcept = 0;
  // Wall clock, milliseconds since 1970-01-01T00:00:00Z: for people and records only.
  virtual std::int64_t unix_ms() const noexcept = 0;
};

class SystemClock final : public Clock {
 public:
  Monotonic now() const noexcept override { return std::chrono::steady_clock::now(); }
  std::int64_t unix_ms() const noexcept override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace fieldgate
