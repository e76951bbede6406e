// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/device.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace fieldgate::sim {
namespace {

// A connection that held this long wipes out the failures before it.
constexpr std::int64_t k_held_us = 10 * k_second_us;
// After a pause of the whole process, no more than this is made up for.
constexpr std::int64_t k_make_up_us = 5 * k_second_us;

bool every(unsigned n, std::uint64_t seq) noexcept { return n != 0 && seq % n == 0; }

}  // namespace

std::string device_id(const DeviceSettings& settings, std::uint32_t index) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%06u", static_cast<unsigned>(settings.first_index + index));
  return settings.id_prefix + digits;
}

Device::Device(DeviceContext& context, std::uint32_t index, DeviceLink& link)
    : context_(context), link_(link), index_(index) {
  begin_stream();
}

void Device::begin_stream() {
  stream_ = std::max<std::uint64_t>(1, context_.rng.next());
  seed_ = check_seed(device_id(context_.settings, index_), stream_);
  acked_ = 0;
  highest_sent_ = 0;
  spooled_ = 0;
}

void Device::start(std::int64_t at_us, std::int64_t epoch_us) {
  connect_us_ = at_us;
  epoch_us_ = epoch_us;
}

StreamEntry Device::ledger_entry() const {
  return {device_id(context_.settings, index_), stream_, buffer_.last(), acked_, {}};
}

std::int64_t Device::next_wake_us() const noexcept {
  const std::int64_t own = duties_ && phase_ != Phase::finished ? duties_->next_us() : k_never_us;
  return std::min(own, next_step_us());
}

std::int64_t Device::next_step_us() const noexcept {
  switch (phase_) {
    case Phase::waiting: return std::min(connect_us_, making_ ? make_us_ : k_never_us);
    case Phase::queued: return making_ ? make_us_ : k_never_us;
    case Phase::connecting:
    case Phase::hello_sent: return std::min(deadline_us_, making_ ? make_us_ : k_never_us);
    case Phase::online: {
      const std::int64_t patience = pinged_ ? heartbeat_us_ * 5 / 2 : heartbeat_us_;
      const std::int64_t planned = making_ ? std::min(make_us_, disrupt_us_) : k_never_us;
      return std::min({planned, send_us_, time_us_, heard_us_ + patience});
    }
    case Phase::closing:
    case Phase::finished: return k_never_us;
  }
  return k_never_us;
}

void Device::wake(const Now& now) {
  if (phase_ == Phase::finished) return;
  make_due(now);
  if (duties_) duties_->wake(now, emitter(now));
  switch (phase_) {
    case Phase::waiting:
      if (now.mono_us < connect_us_) return;
      if (context_.settings.connecting_max == 0 || context_.connecting < context_.settings.connecting_max) {
        return connect(now);
      }
      phase_ = Phase::queued;
      context_.queue.push_back(index_);
      return;
    case Phase::hello_sent:
      if (now.mono_us >= deadline_us_) drop(true, Loss::welcome_timeout, now);
      return;
    case Phase::online:
      send_due(now);
      watch(now);
      if (online()) disrupt(now);
      return;
    default: return;
  }
}

bool Device::admit(const Now& now) {
  if (phase_ != Phase::queued) return false;
  connect(now);
  return true;
}

void Device::connect(const Now& now) {
  phase_ = Phase::connecting;
  connect_us_ = now.mono_us;
  deadline_us_ = k_never_us;  // the connection has its own, until it is open
  ++attempts_;
  ++context_.connecting;
  ++context_.stats.connects;
  link_.connect();
}

void Device::leave_connecting() noexcept {
  if (phase_ == Phase::connecting || phase_ == Phase::hello_sent) --context_.connecting;
}

void Device::make_due(const Now& now) {
  if (!making_ || now.mono_us < make_us_) return;
  const DeviceSettings& settings = context_.settings;
  const unsigned batch = settings.profile == Profile::burst ? settings.burst_frames : 1;
  const auto interval = static_cast<std::int64_t>(std::llround(batch * 1e6 / settings.frames_per_second));
  make_us_ = std::max(make_us_, now.mono_us - k_make_up_us);
  while (make_us_ <= now.mono_us) {
    for (unsigned i = 0; i < batch; ++i) make_one(now);
    make_us_ += std::max<std::int64_t>(1, interval);
  }
}

void Device::make_one(const Now& now) {
  const DeviceSettings& settings = context_.settings;
  if (buffer_.frames() >= settings.buffer_frames_max || buffer_.bytes() >= settings.buffer_bytes_max) {
    ++context_.stats.frames_withheld;
    return;
  }
  const std::uint64_t seq = buffer_.last() + 1;
  FrameFactory& factory = context_.factory;
  std::string& bytes = context_.bytes;
  if (every(settings.event_every, seq))
    factory.event(seed_, seq, now.wall_us, bytes);
  else if (every(settings.state_every, seq))
    factory.state(seed_, seq, now.wall_us, bytes);
  else if (every(settings.opaque_every, seq))
    factory.opaque(seed_, seq, now.wall_us, bytes);
  else
    factory.telemetry(seed_, seq, now.wall_us, context_.rng, bytes);
  buffer_.append(bytes, now.mono_us);
  ++context_.stats.frames_made;
}

void Device::send_due(const Now& now) {
  send_us_ = k_never_us;
  if (phase_ != Phase::online) return;
  while (buffer_.has_unsent() && !link_.congested()) {
    const FrameBuffer::Frame frame = buffer_.unsent();
    const std::uint64_t size = frame.bytes.size();
    if (buffer_.outstanding_frames() + 1 > credit_frames_ || buffer_.outstanding_bytes() + size > credit_bytes_) return;
    const std::int64_t ready =
        std::max(frame_pacer_.ready_at(1, now.mono_us), byte_pacer_.ready_at(static_cast<double>(size), now.mono_us));
    if (ready > now.mono_us) {
      send_us_ = ready;
      return;
    }
    frame_pacer_.spend(1);
    byte_pacer_.spend(static_cast<double>(size));
    link_.send(frame.bytes);
    ++(frame.seq > highest_sent_ ? context_.stats.frames_sent : context_.stats.frames_resent);
    context_.stats.bytes_sent += size;
    highest_sent_ = std::max(highest_sent_, frame.seq);
    buffer_.mark_sent();
  }
}

void Device::watch(const Now& now) {
  if (now.mono_us >= time_us_) {
    time_us_ = now.mono_us + context_.settings.time_request_us;
    context_.up.Clear();
    context_.up.mutable_time_request()->set_token(static_cast<std::uint64_t>(now.mono_us));
    context_.up.SerializeToString(&context_.bytes);
    link_.send(context_.bytes);
  }
  const std::int64_t quiet = now.mono_us - heard_us_;
  if (quiet >= heartbeat_us_ * 5 / 2) {
    drop(true, Loss::heartbeat_lost, now);
  } else if (quiet >= heartbeat_us_ && !pinged_) {
    pinged_ = true;
    link_.ping();
  }
}

std::int64_t Device::next_storm_us(std::int64_t now_us) const noexcept {
  const std::int64_t period = context_.settings.storm_every_us;
  return epoch_us_ + ((now_us - epoch_us_) / period + 1) * period;
}

void Device::disrupt(const Now& now) {
  if (now.mono_us < disrupt_us_ || !making_) return;
  const bool storm = context_.settings.profile == Profile::storm;
  const std::int64_t kind = storm ? 1 : context_.rng.up_to(2);
  planned_ = true;
  if (kind == 0) {
    context_.up.Clear();
    context_.up.mutable_bye()->set_reason(v1::Bye::REASON_REBOOT);
    context_.up.SerializeToString(&context_.bytes);
    link_.send(context_.bytes);
    link_.close(1000);
    phase_ = Phase::closing;
  } else {
    drop(kind == 1, Loss::dropped, now);
  }
}

void Device::drop(bool by_reset, Loss loss, const Now& now) {
  link_.drop(by_reset);
  on_lost(loss, now);
}

void Device::on_lost(Loss loss, const Now& now) {
  ++context_.stats.losses[static_cast<std::size_t>(loss)];
  leave_connecting();
  if (planned_ || (phase_ == Phase::online && now.mono_us - online_us_ >= k_held_us)) attempts_ = 0;
  send_us_ = k_never_us;
  if (finishing_) {
    phase_ = Phase::finished;
    return;
  }
  phase_ = Phase::waiting;
  if (stream_lost_) {
    // The frames in hand belong to a stream that is over: as many new ones take
    // their place. None of them was acknowledged, so nothing is claimed twice.
    const std::uint64_t again = buffer_.frames();
    context_.closed_streams.push_back(ledger_entry());
    ++context_.stats.streams_restarted;
    buffer_.restart();
    begin_stream();
    for (std::uint64_t i = 0; i < again; ++i) make_one(now);
  }
  connect_us_ = now.mono_us + reconnect_delay_us();
  planned_ = stream_lost_ = taken_over_ = false;
  goodbye_within_us_ = -1;
}

std::int64_t Device::reconnect_delay_us() {
  const DeviceSettings& settings = context_.settings;
  Rng& rng = context_.rng;
  if (taken_over_) return settings.backoff_max_us / 2 + rng.up_to(settings.backoff_max_us / 2);
  if (planned_) return rng.up_to(settings.return_within_us);
  if (goodbye_within_us_ > 0) return rng.up_to(goodbye_within_us_);
  const unsigned doublings = std::min(attempts_ > 0 ? attempts_ - 1 : 0U, 20U);
  return rng.up_to(std::min(settings.backoff_max_us, settings.backoff_base_us << doublings));
}

void Device::finish(const Now& now) {
  making_ = false;
  if (finishing_ || finished()) return;
  finishing_ = true;
  if (phase_ == Phase::online) {
    context_.up.Clear();
    context_.up.mutable_bye()->set_reason(v1::Bye::REASON_SHUTDOWN);
    context_.up.SerializeToString(&context_.bytes);
    link_.send(context_.bytes);
    link_.close(1000);
    phase_ = Phase::closing;
  } else if (phase_ != Phase::closing) {
    abandon(now);
  }
}

void Device::abandon(const Now& now) {
  finishing_ = true;
  const bool connected = phase_ != Phase::waiting && phase_ != Phase::queued && phase_ != Phase::finished;
  if (connected) drop(true, Loss::dropped, now);
  phase_ = Phase::finished;
}

}  // namespace fieldgate::sim
