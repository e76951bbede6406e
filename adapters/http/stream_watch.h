// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/clock.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace fieldgate::http {

// What comes here only while somebody holds it, by name; and for a while after the last has
// gone, so that who comes back has missed nothing.
// Thread: one. Bounds: the caller's, who holds.
class StreamWatch {
 public:
  explicit StreamWatch(std::chrono::milliseconds linger) : linger_(linger) {}

  // `last`: number of the newest event. True: it was not watched before.
  bool hold(const std::string& name, std::uint64_t last) {
    const auto [at, fresh] = watched_.try_emplace(name, Watched{last, 0, {}});
    ++at->second.holders;
    return fresh;
  }
  // Precondition: held.
  void release(const std::string& name, Monotonic now) {
    Watched& watched = watched_.at(name);
    if (--watched.holders == 0) watched.until = now + linger_;
  }
  // Lets go of what nobody has come back to. True: there was any.
  bool end(Monotonic now) {
    const auto over = [now](const auto& entry) { return entry.second.holders == 0 && now >= entry.second.until; };
    return std::erase_if(watched_, over) > 0;
  }
  // Something may not have come, of whatever name, up to that number.
  void gap(std::uint64_t last) {
    for (auto& [name, watched] : watched_) watched.since = last;
  }

  bool has(const std::string& name) const { return watched_.contains(name); }
  // All that there was of it after that number has come here.
  bool covers(const std::string& name, std::uint64_t number) const {
    const auto at = watched_.find(name);
    return at != watched_.end() && at->second.since <= number;
  }
  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& [name, watched] : watched_) visit(name);
  }

 private:
  struct Watched {
    std::uint64_t since = 0;  // number of the event before the first that would be known
    std::size_t holders = 0;
    Monotonic until{};  // without holders
  };
  const std::chrono::milliseconds linger_;
  std::unordered_map<std::string, Watched> watched_;
};

}  // namespace fieldgate::http
