// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

// Lets so many lines of one event name through in a second, and counts the rest.
// Thread: any. Bounds: k_events_max event names; those beyond share one account,
// named "other".
class EventLimiter {
 public:
  static constexpr std::size_t k_events_max = 1'024;

  struct Suppressed {
    std::string event;
    std::uint64_t count = 0;
  };
  struct Verdict {
    bool pass = false;
    // What was held back in seconds that are over, told once.
    std::vector<Suppressed> summaries;
  };

  explicit EventLimiter(std::uint32_t per_second) : per_second_(per_second) {}

  Verdict ask(std::string_view event, Monotonic now) EXCLUDES(mutex_);
  // What has been held back and not been told.
  std::vector<Suppressed> rest() EXCLUDES(mutex_);

 private:
  struct Account {
    Monotonic began;
    std::uint32_t passed = 0;
    std::uint64_t suppressed = 0;
  };

  // Collects every account that holds something back and began before `until`.
  std::vector<Suppressed> collect(Monotonic until) REQUIRES(mutex_);
  Account& account(std::string_view event, Monotonic now) REQUIRES(mutex_);

  const std::uint32_t per_second_;
  Mutex mutex_;
  std::map<std::string, Account, std::less<>> accounts_ GUARDED_BY(mutex_);
  // Whether any account holds something back: then the next ask() looks.
  bool any_suppressed_ GUARDED_BY(mutex_) = false;
};

}  // namespace fieldgate
