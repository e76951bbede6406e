// SPDX-License-Identifier: Apache-2.0
//
// The part of DeviceSession that looks at the time: which phase lasts how long, and what is asked of a connection while
// it lives.
#include "gateway/net/device_session.h"
#include "gateway/net/shard.h"

#include <sys/ioctl.h>

#include <algorithm>

namespace fieldgate::net {
namespace {

std::uint32_t to_ms(seconds s) { return static_cast<std::uint32_t>(milliseconds(s).count()); }

// Signed, for the clock wraps after 49 days.
std::int32_t remaining(std::uint32_t since, std::uint32_t limit, std::uint32_t now) {
  return static_cast<std::int32_t>(since + limit - now);
}

// Nobody need say that a token, replaced by another, has come to its end.
constexpr std::uint32_t k_credential_ms = 60'000;
// For the answer of Admission; where there is an earlier owner, Ownership is less patient.
constexpr std::uint32_t k_claim_ms_max = 5'000;
// How long a silent peer may keep a place that others wait for. Whoever connects speaks first (TLS, HTTP), and so does
// at once; what it has to reckon for the answer to ours takes a small device seconds.
constexpr std::uint32_t k_first_word_ms = 1'000;
constexpr std::uint32_t k_next_word_ms = 5'000;

}  // namespace

void DeviceSession::enter(Phase phase) {
  phase_ = phase;
  // From accept to Welcome the phases follow each other; handshake_time counts from accept.
  phase_since_ = shard_.now_ms();
  refile();
}

std::uint32_t DeviceSession::due_ms(std::uint32_t now) const {
  const SessionConfig& config = shard_.config();
  std::int32_t due = 0;
  switch (phase_) {
    case Phase::tls: due = remaining(phase_since_, to_ms(config.session.deadlines.tls), now); break;
    case Phase::upgrade: due = remaining(phase_since_, to_ms(config.session.deadlines.upgrade), now); break;
    case Phase::hello: due = remaining(phase_since_, to_ms(config.session.deadlines.hello), now); break;
    case Phase::claiming: due = remaining(phase_since_, k_claim_ms_max, now); break;
    case Phase::closing:
    case Phase::gone: due = remaining(phase_since_, to_ms(config.session.deadlines.close), now); break;
    case Phase::live:
      due = remaining(heard_, ping_out_ ? heartbeat_ms_ * 3 / 2 : heartbeat_ms_, now);
      if (assembling_) due = std::min(due, remaining(assembly_since_, to_ms(config.limits.message_assembly), now));
      if (outbox_) due = std::min(due, remaining(stalled_since_, heartbeat_ms_ * 3 / 2, now));
      if (throttle_pending_) due = std::min(due, remaining(throttle_since_, heartbeat_ms_ * 3 / 2, now));
      due = std::min(due, remaining(credential_asked_, k_credential_ms, now));
      if (credential_expires_unix_ms_ != 0) due = std::min(due, credential_left_ms());
      if (config.session.age_max > seconds(0)) due = std::min(due, age_left_ms(now));
      break;
  }
  return now + static_cast<std::uint32_t>(std::max(due, std::int32_t{0}));
}

// A fifth less or more than age_max, for each connection its own.
std::int32_t DeviceSession::age_left_ms(std::uint32_t now) const {
  const std::uint64_t age_max = to_ms(shard_.config().session.age_max);
  const std::uint64_t mixed = ((std::uint64_t{ref_.generation} << 32 | ref_.slot) ^ accepted_) * 0x9E3779B97F4A7C15U;
  return remaining(accepted_, static_cast<std::uint32_t>(age_max * (800 + (mixed >> 32) % 401) / 1'000), now);
}

void DeviceSession::refile() { shard_.file_deadline(*this, due_ms(shard_.now_ms())); }

void DeviceSession::deadline(std::uint32_t now) {
  const SessionConfig& config = shard_.config();
  // By the tick's own time: by a later one, what is due in a tick that takes a while
  // would be due a moment from now, and wait for the next tick, and the next.
  if (static_cast<std::int32_t>(due_ms(now) - now) > 0) return refile();
  switch (phase_) {
    case Phase::tls:
    case Phase::upgrade:
    case Phase::hello: return end(too_late());
    case Phase::claiming: return end(EndReason::no_epoch, "no answer from what admits devices");
    case Phase::closing: return close_socket();
    case Phase::gone: return;
    case Phase::live: break;
  }
  if (credential_expires_unix_ms_ != 0 && credential_left_ms() == 0) {
    return end(EndReason::credential_revoked, "the credential has expired");
  }
  if (remaining(credential_asked_, k_credential_ms, now) <= 0) {
    credential_asked_ = now;
    recheck_credential(false);
    if (!open()) return;
  }
  if (config.session.age_max > seconds(0) && age_left_ms(now) <= 0) {
    return dismiss(GoodbyeReason::drain, k_move_reconnect_ms, EndReason::age_max);
  }
  note_untold_rejects(rejects_apart_ms());
  const std::uint32_t lost_ms = heartbeat_ms_ * 3 / 2;
  // Never unasked: with short intervals the tick that should ping may come late.
  if (ping_out_ && remaining(heard_, lost_ms, now) <= 0) return end(EndReason::heartbeat_lost);
  if (outbox_ && remaining(stalled_since_, lost_ms, now) <= 0) return end(EndReason::slow_reader);
  if (assembling_ && remaining(assembly_since_, to_ms(config.limits.message_assembly), now) <= 0) {
    return end(EndReason::assembly_timeout);
  }
  if (throttle_pending_ && remaining(throttle_since_, lost_ms, now) <= 0) {
    throttle_pending_ = false;
    enforced_ = granted_;
  }
  if (!ping_out_ && remaining(heard_, heartbeat_ms_, now) <= 0) {
    ping_out_ = true;
    send(WsOpcode::ping, {});
    shard_.probe().pings_out.add();
  }
  refile();
}

// --- who keeps others waiting

EndReason DeviceSession::too_late() const noexcept {
  switch (phase_) {
    case Phase::tls: return EndReason::tls_timeout;
    case Phase::upgrade: return EndReason::upgrade_timeout;
    default: return EndReason::hello_timeout;
  }
}

bool DeviceSession::stalls(std::uint32_t now) const noexcept {
  if (phase_ > Phase::hello) return false;
  if (remaining(heard_, greeting_->spoken ? k_next_word_ms : k_first_word_ms, now) > 0) return false;
  // What has come and is not read yet, it need not say again.
  int unread = 0;
  return ::ioctl(socket_.fd(), FIONREAD, &unread) == 0 && unread == 0;
}

void DeviceSession::give_way() { end(too_late(), "it said nothing while all places for handshakes were taken"); }

}  // namespace fieldgate::net
