// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_waiters.h"

#include <cassert>
#include <utility>

namespace fieldgate::control {

void CommandWaiters::add(const std::string& id, std::uint32_t tick, Reply<CommandEntry> reply) {
  assert(!full());
  auto waiter = std::make_unique<Waiter>();
  waiter->id = id;
  waiter->until = tick;
  waiter->reply = std::move(reply);
  wheel_.file(*waiter, tick);
  waiters_.emplace(id, std::move(waiter));
}

std::vector<std::string> CommandWaiters::some(const std::string& after, std::size_t limit) const {
  std::vector<std::string> ids;
  for (auto at = waiters_.upper_bound(after); at != waiters_.end() && ids.size() < limit;) {
    ids.push_back(at->first);
    at = waiters_.upper_bound(at->first);
  }
  return ids;
}

void CommandWaiters::ended(const std::string& id, const Result<CommandEntry>& outcome) {
  std::vector<Reply<CommandEntry>> replies;
  const auto [first, last] = waiters_.equal_range(id);
  for (auto at = first; at != last; ++at) replies.push_back(std::move(at->second->reply));
  waiters_.erase(first, last);
  for (const auto& reply : replies) reply(outcome);
}

std::vector<CommandWaiters::Impatient> CommandWaiters::advance(std::uint32_t tick) {
  std::vector<Impatient> found;
  wheel_.advance(tick, [&](TimerNode& node) {
    auto& waiter = static_cast<Waiter&>(node);
    if (static_cast<std::int32_t>(waiter.until - tick) > 0) {  // beyond the wheel's span
      wheel_.file(node, waiter.until);
      return;
    }
    found.push_back({waiter.id, std::move(waiter.reply)});
    const auto [first, last] = waiters_.equal_range(waiter.id);
    for (auto at = first; at != last; ++at) {
      if (at->second.get() != &waiter) continue;
      waiters_.erase(at);
      break;
    }
  });
  return found;
}

}  // namespace fieldgate::control
