// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/net/gateway.h"
#include "gateway/node_state.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/log.h"
#include "gateway/uplink/uplink_log.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>

namespace fieldgate {

// How far a drain has come.
struct DrainProgress {
  std::uint64_t connections = 0;  // of devices
  std::uint64_t records = 0;      // on their way to the lanes
  bool drained = false;
};

// Sends every device away and lets the lanes have what they sent, in this order:
//   not ready, and serving on      drain_delay
//   Goodbyes                       the first half of drain_period, sooner with drain_rate
//   connections close, and who was sent away is let in by another node; of who is not by
//   then it is said that it is offline
//                                  up to three quarters of it
//   what they sent is forwarded    the rest
// Thread: one. Borrows: all that it is given.
class Drain {
 public:
  struct Parts {
    net::Gateway& gateway;
    uplink::UplinkLog& uplink;
    NodeState& state;
    const Clock& clock;
    Log& log;
    std::function<bool()> may_close;  // nobody has anything to tell the gateway that must not be lost
  };
  // `durable`: what is on disk need not be waited for. `drained`: called once.
  Drain(boost::asio::io_context& io, const NodeSettings& settings, bool durable, Parts parts,
        std::function<void()> drained);

  void begin();  // once
  // No more waiting for anything, from now on.
  void cut_short();
  bool begun() const noexcept { return begun_; }
  bool over() const noexcept { return over_; }
  DrainProgress progress() const;
  // What begin() may take at most.
  std::chrono::milliseconds patience() const noexcept { return settings_.drain_delay + settings_.drain_period; }

 private:
  void say_goodbye();
  void poll_devices();
  void poll_lanes();
  bool lanes_may_take_more() const;
  std::chrono::milliseconds left(Monotonic deadline) const;
  void later(std::chrono::milliseconds delay, void (Drain::*step)());

  const NodeSettings settings_;
  const bool durable_;
  Parts parts_;
  const std::function<void()> drained_;
  boost::asio::steady_timer timer_;
  Monotonic goodbyes_at_;
  Monotonic end_;
  bool begun_ = false;
  bool over_ = false;
};

}  // namespace fieldgate
