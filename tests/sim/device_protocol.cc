// SPDX-License-Identifier: Apache-2.0
//
// What a device says at the start of a connection, and what it makes of what the
// gateway says.
#include "tests/sim/device.h"

#include <algorithm>
#include <cmath>

namespace fieldgate::sim {

void Device::on_open(const Now& now) {
  ++context_.stats.opens;
  context_.stats.open_us.add(now.mono_us - connect_us_);
  phase_ = Phase::hello_sent;
  deadline_us_ = now.mono_us + context_.settings.welcome_timeout_us;
  heard_us_ = now.mono_us;
  send_hello();
}

void Device::send_hello() {
  const DeviceSettings& settings = context_.settings;
  context_.up.Clear();
  v1::Hello& hello = *context_.up.mutable_hello();
  hello.set_device_id(device_id(settings, index_));
  hello.set_stream_id(stream_);
  hello.set_oldest_seq(buffer_.oldest());
  hello.set_last_seq(buffer_.last());
  hello.set_ack_stage(settings.stage);
  hello.set_heartbeat_seconds(settings.heartbeat_seconds);
  hello.set_receive_max_bytes(settings.receive_max_bytes);
  for (const auto& [key, value] : settings.labels) (*hello.mutable_labels())[key] = value;
  for (const auto& label : settings.varied_labels) {
    (*hello.mutable_labels())[label.key] = label.values[index_ % label.values.size()];
  }
  hello.set_firmware_version(settings.firmware);
  if (settings.duties) {
    for (const char* capability : {"command", "command_cancel", "desired"}) hello.add_capabilities(capability);
  }
  context_.up.SerializeToString(&context_.bytes);
  link_.send(context_.bytes);
}

void Device::on_message(std::string_view message, const Now& now) {
  if (phase_ != Phase::hello_sent && phase_ != Phase::online) return;  // on its way out: nothing counts any more
  v1::GatewayFrame& down = context_.down;
  if (!down.ParseFromArray(message.data(), static_cast<int>(message.size()))) return violation("unreadable_message");
  const auto kind = down.kind_case();
  if (kind == v1::GatewayFrame::KIND_NOT_SET) return;  // a later version's
  if (kind == v1::GatewayFrame::kGoodbye) return goodbye(down.goodbye());
  if (kind == v1::GatewayFrame::kWelcome) {
    return phase_ == Phase::hello_sent ? welcome(down.welcome(), now) : violation("second_welcome");
  }
  if (phase_ == Phase::hello_sent) return violation("message_before_welcome");
  switch (kind) {
    case v1::GatewayFrame::kAck:
      ++context_.stats.acks;
      if (down.ack().through() < acked_) return violation("ack_goes_back");
      acknowledge(down.ack().through(), now);
      break;
    case v1::GatewayFrame::kReject: reject(down.reject()); break;
    case v1::GatewayFrame::kThrottle:
      ++context_.stats.throttles;
      credit_frames_ = down.throttle().credit().frames();
      credit_bytes_ = down.throttle().credit().bytes();
      break;
    case v1::GatewayFrame::kTime:
      ++context_.stats.times;
      context_.stats.rtt_us.add(now.mono_us - static_cast<std::int64_t>(down.time().token()));
      break;
    default: told(down, now); break;
  }
  send_due(now);
}

void Device::welcome(const v1::Welcome& welcome, const Now& now) {
  Stats& stats = context_.stats;
  ++stats.welcomes;
  if (welcomed_once_) ++stats.reconnects;
  stats.welcome_us.add(now.mono_us - connect_us_);
  ++stats.stages[v1::AckStage_Name(welcome.ack_stage())];
  if (welcome.ack_stage() == v1::ACK_STAGE_UNSPECIFIED) violation("no_stage_granted");
  if (welcome.epoch() == 0 || welcome.epoch() >= (std::uint64_t{1} << 53)) violation("epoch_range");
  if (welcome.received_through() < welcome.acked_through()) violation("acked_but_not_received");
  if (welcome.received_through() > highest_sent_) violation("received_what_was_not_sent");

  if (welcome.received_through() < spooled_) stats.acked_forgotten += spooled_ - welcome.received_through();
  stage_ = welcome.ack_stage();

  leave_connecting();
  phase_ = Phase::online;
  online_us_ = now.mono_us;
  acknowledge(std::max(acked_, welcome.acked_through()), now);
  buffer_.rewind_to_after(welcome.received_through());
  credit_frames_ = welcome.credit().frames();
  credit_bytes_ = welcome.credit().bytes();
  frame_pacer_.set_rate(welcome.limits().frames_per_second(), now.mono_us);
  byte_pacer_.set_rate(static_cast<double>(welcome.limits().bytes_per_second()), now.mono_us);
  heartbeat_us_ = std::max<std::int64_t>(1, welcome.heartbeat_seconds()) * k_second_us;

  const DeviceSettings& settings = context_.settings;
  Rng& rng = context_.rng;
  if (!welcomed_once_ && settings.profile != Profile::silent) {
    // From now on frames are made by the clock, connected or not.
    make_us_ = now.mono_us + rng.up_to(static_cast<std::int64_t>(std::llround(1e6 / settings.frames_per_second)));
  }
  if (settings.duties && !duties_) {
    duties_ = std::make_unique<Duties>();
    duties_->report(now.wall_us / 1'000, emitter(now));
  }
  welcomed_once_ = true;
  time_us_ = settings.time_request_us > 0 ? now.mono_us + rng.up_to(settings.time_request_us) : k_never_us;
  if (settings.profile == Profile::flapping) {
    disrupt_us_ = now.mono_us + settings.flap_every_us / 2 + rng.up_to(settings.flap_every_us);
  } else if (settings.profile == Profile::storm) {
    disrupt_us_ = next_storm_us(now.mono_us);
  }
  send_due(now);
}

// A data frame of its own; beyond the buffer's bounds, which are for what it makes by itself.
Duties::Emit Device::emitter(const Now& now) {
  return [this, &now](v1::DeviceFrame& frame) {
    frame.set_seq(buffer_.last() + 1);
    frame.SerializeToString(&context_.bytes);
    buffer_.append(context_.bytes, now.mono_us);
    ++context_.stats.frames_made;
  };
}

void Device::told(const v1::GatewayFrame& down, const Now& now) {
  Stats& stats = context_.stats;
  if (!duties_) return violation("told_what_it_cannot_do");
  switch (down.kind_case()) {
    case v1::GatewayFrame::kCommand:
      ++(duties_->command(down.command(), now, emitter(now)) ? stats.commands : stats.commands_repeated);
      break;
    case v1::GatewayFrame::kCommandCancel:
      ++stats.cancels;
      duties_->cancel(down.command_cancel().id(), emitter(now));
      break;
    case v1::GatewayFrame::kDesired:
      ++stats.desireds;
      duties_->desired(down.desired(), emitter(now));
      break;
    default: break;
  }
}

void Device::acknowledge(std::uint64_t through, const Now& now) {
  if (through > highest_sent_) {
    violation("acked_what_was_not_sent");
    through = highest_sent_;
  }
  while (buffer_.frames() > 0 && buffer_.front().seq <= through) {
    context_.stats.ack_us.add(now.mono_us - buffer_.front().made_us);
    ++context_.stats.frames_acked;
    buffer_.pop_front();
  }
  acked_ = std::max(acked_, through);
  if (stage_ == v1::ACK_STAGE_SPOOLED) spooled_ = acked_;
}

void Device::reject(const v1::Reject& reject) {
  if (reject.seq() <= acked_) return violation("reject_after_ack");
  if (reject.seq() > highest_sent_) return violation("rejected_what_was_not_sent");
  ++context_.stats.frames_rejected;
  context_.rejected.push_back({index_, stream_, reject.seq()});
}

void Device::goodbye(const v1::Goodbye& goodbye) {
  ++context_.stats.goodbyes[v1::GoodbyeReason_Name(goodbye.reason())];
  goodbye_within_us_ = std::int64_t{goodbye.reconnect_after_ms()} * 1000;
  taken_over_ = goodbye.reason() == v1::GOODBYE_REASON_TAKEN_OVER;
  stream_lost_ = goodbye.reason() == v1::GOODBYE_REASON_STREAM_REUSED;
  // The gateway closes now: what is sent after this would be lost on the way.
  credit_frames_ = 0;
}

}  // namespace fieldgate::sim
