// SPDX-License-Identifier: Apache-2.0
#include "adapters/log/event_limiter.h"

#include <chrono>
#include <utility>

namespace fieldgate {
namespace {

constexpr std::chrono::seconds k_window{1};

}  // namespace

EventLimiter::Account& EventLimiter::account(std::string_view event, Monotonic now) {
  auto found = accounts_.find(event);
  if (found != accounts_.end()) return found->second;
  if (accounts_.size() >= k_events_max) event = "other";
  return accounts_.emplace(event, Account{now, 0, 0}).first->second;
}

std::vector<EventLimiter::Suppressed> EventLimiter::collect(Monotonic until) {
  std::vector<Suppressed> found;
  bool left = false;
  for (auto& [event, account] : accounts_) {
    if (account.suppressed == 0) continue;
    if (account.began < until) {
      found.push_back({event, std::exchange(account.suppressed, 0)});
    } else {
      left = true;
    }
  }
  any_suppressed_ = left;
  return found;
}

EventLimiter::Verdict EventLimiter::ask(std::string_view event, Monotonic now) {
  const MutexLock lock(mutex_);
  Verdict verdict;
  if (any_suppressed_) verdict.summaries = collect(now - k_window + Monotonic::duration(1));
  Account& own = account(event, now);
  if (now - own.began >= k_window) {
    own.began = now;
    own.passed = 0;
  }
  verdict.pass = own.passed < per_second_;
  if (verdict.pass) {
    ++own.passed;
  } else {
    ++own.suppressed;
    any_suppressed_ = true;
  }
  return verdict;
}

std::vector<EventLimiter::Suppressed> EventLimiter::rest() {
  const MutexLock lock(mutex_);
  return collect(Monotonic::max());
}

}  // namespace fieldgate
