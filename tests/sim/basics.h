// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/system/result.hpp>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace fieldgate::sim {

// What went wrong, for a person.
struct Problem {
  std::string text;
};

template <class T>
using Outcome = boost::system::result<T, Problem>;

// Required by boost::system::result for value() on a problem: a bug in the
// caller, who did not check.
[[noreturn]] inline void throw_exception_from_error(const Problem& problem, const boost::source_location&) {
  throw std::logic_error(problem.text);
}

// One reading of both clocks. Timers go by `mono_us`, what is sent by `wall_us`.
struct Now {
  std::int64_t mono_us = 0;
  std::int64_t wall_us = 0;
};

Now read_clocks() noexcept;

inline constexpr std::int64_t k_second_us = 1'000'000;
inline constexpr std::int64_t k_never_us = std::numeric_limits<std::int64_t>::max();

// Spreads and jitters (splitmix64). Not for secrets.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // In [0, 1).
  double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // In [0, n]; 0 for n <= 0.
  std::int64_t up_to(std::int64_t n) noexcept {
    return n <= 0 ? 0 : static_cast<std::int64_t>(next() % (static_cast<std::uint64_t>(n) + 1));
  }

 private:
  std::uint64_t state_;
};

}  // namespace fieldgate::sim
