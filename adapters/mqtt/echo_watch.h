// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/clock.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace fieldgate::mqtt {

// What a client publishes where it has subscribed must come back. A broker may take a subscription
// and bring nothing of it, for want of the right to read: mosquitto's acl_file does, and tells nobody.
// Thread: one.
class EchoWatch {
 public:
  enum class From : std::uint8_t { node, presence, inbox };

  // Nothing will come any more where nothing at all has come for so long, or so long after it should have.
  static constexpr std::chrono::seconds k_silence{10};
  static constexpr std::chrono::seconds k_patience{60};

  // A new connection: nothing is subscribed to.
  void begin() noexcept { all_ = {}; }
  // The broker has taken the subscription; one whose answer is late is none until then.
  void subscribed(From from) noexcept { at(from).subscribed = true; }
  // The broker has taken what must come back from there.
  void published(From from, Monotonic now) noexcept {
    One& one = at(from);
    if (!one.heard && !one.silent && !one.since) one.since = now;
  }
  // It has come back, or something else has come from there.
  void heard(From from) noexcept {
    One& one = at(from);
    one.heard = true;
    one.since.reset();
  }
  // Something has come, wherever from: what is missing may be queued behind it.
  void stirred(Monotonic now) noexcept { stirred_ = now; }

  bool has_heard(From from) const noexcept { return all_[index(from)].heard; }
  bool is_silent(From from) const noexcept { return all_[index(from)].silent; }
  // When to ask take_silent(); nullopt: nothing is missing.
  std::optional<Monotonic> due() const noexcept {
    std::optional<Monotonic> first;
    for (const One& one : all_) {
      if (one.subscribed && one.since) first = std::min(first.value_or(Monotonic::max()), due(*one.since));
    }
    return first;
  }
  // Where nothing will come from any more; each once in a connection.
  std::vector<From> take_silent(Monotonic now) {
    std::vector<From> out;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      One& one = all_[i];
      if (!one.subscribed || !one.since || now < due(*one.since)) continue;
      one.since.reset();
      one.silent = true;
      out.push_back(static_cast<From>(i));
    }
    return out;
  }

 private:
  struct One {
    bool subscribed = false;
    bool heard = false;
    bool silent = false;
    std::optional<Monotonic> since;  // something is on its way back
  };
  static std::size_t index(From from) noexcept { return static_cast<std::size_t>(from); }
  One& at(From from) noexcept { return all_[index(from)]; }
  Monotonic due(Monotonic since) const noexcept {
    return std::min(std::max(since, stirred_) + k_silence, since + k_patience);
  }

  std::array<One, 3> all_{};
  Monotonic stirred_;
};

}  // namespace fieldgate::mqtt
