// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/drain.h"

#include <algorithm>
#include <utility>

namespace fieldgate {
namespace {

constexpr milliseconds k_poll{50};

}  // namespace

Drain::Drain(boost::asio::io_context& io, const NodeSettings& settings, bool durable, Parts parts,
             std::function<void()> drained)
    : settings_(settings), durable_(durable), parts_(parts), drained_(std::move(drained)), timer_(io) {}

milliseconds Drain::left(Monotonic deadline) const {
  return std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(deadline - parts_.clock.now()));
}

void Drain::later(milliseconds delay, void (Drain::*step)()) {
  timer_.expires_after(delay);
  timer_.async_wait([this, step](error_code ec) {
    if (!ec) (this->*step)();
  });
}

void Drain::begin() {
  begun_ = true;
  parts_.state.enter(NodeState::Phase::draining);
  goodbyes_at_ = parts_.clock.now() + settings_.drain_delay;
  end_ = goodbyes_at_ + settings_.drain_period;
  say_goodbye();
}

void Drain::cut_short() { goodbyes_at_ = end_ = parts_.clock.now(); }

void Drain::say_goodbye() {
  if (left(goodbyes_at_) > milliseconds(0)) return later(std::min(k_poll, left(goodbyes_at_)), &Drain::say_goodbye);
  parts_.log.info("goodbyes", {{"devices", parts_.gateway.sessions()}});
  parts_.gateway.drain(milliseconds(settings_.drain_period) / 2, settings_.drain_rate);
  poll_devices();
}

void Drain::poll_devices() {
  const bool somebody = parts_.gateway.connections() > 0 || parts_.gateway.awaited() > 0;
  if ((somebody || !parts_.may_close()) && left(end_) > settings_.drain_period / 4) {
    return later(k_poll, &Drain::poll_devices);
  }
  parts_.gateway.stop();
  parts_.state.enter(NodeState::Phase::drained);
  poll_lanes();
}

// With a spool on disk nothing need be waited for, but whatever the lanes can still
// take need not wait for the next start.
void Drain::poll_lanes() {
  if (parts_.uplink.pending() > 0 && left(end_) > milliseconds(0) && lanes_may_take_more()) {
    return later(k_poll, &Drain::poll_lanes);
  }
  over_ = true;
  drained_();
}

bool Drain::lanes_may_take_more() const {
  if (!durable_) return true;
  const auto lanes = parts_.uplink.lanes();
  return std::ranges::any_of(lanes, [](const LaneStatus& lane) { return !lane.held && lane.pending_records > 0; });
}

DrainProgress Drain::progress() const { return {parts_.gateway.connections(), parts_.uplink.pending(), over_}; }

}  // namespace fieldgate
