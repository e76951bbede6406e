// SPDX-License-Identifier: Apache-2.0
//
// The part of DeviceSession that says what it is and what has become of it: to the
// flight recorder, and to whoever asks.
#include "gateway/core/hex.h"
#include "gateway/net/device_session.h"
#include "gateway/net/shard.h"
#include "gateway/net/tls_files.h"
#include "gateway/ports/flight_recorder.h"

#include <algorithm>
#include <utility>

namespace fieldgate::net {
namespace {

constexpr std::size_t k_value_bytes_max = 256;  // of a TimelineEntry
constexpr std::int64_t k_day_ms = 86'400'000;

// Never within a character.
std::string cut(std::string_view text) {
  if (text.size() <= k_value_bytes_max) return std::string(text);
  std::size_t size = k_value_bytes_max;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return std::string(text.substr(0, size));
}

std::string_view name_of(RejectCode code) {
  switch (code) {
    case RejectCode::malformed: return "malformed";
    case RejectCode::unsupported: return "unsupported";
    case RejectCode::forbidden: return "forbidden";
    case RejectCode::too_large: return "too_large";
  }
  return "unknown";
}

}  // namespace

// --- the flight recorder

std::string DeviceSession::peer_text() const {
  const std::string address = peer_.address().to_string();
  return (peer_.address().is_v6() ? '[' + address + ']' : address) + ':' + std::to_string(peer_.port());
}

// Precondition: authenticated.
void DeviceSession::note(TimelineKind kind, TimelineFields fields) const {
  FlightRecorder* recorder = shard_.env().recorder;
  if (recorder == nullptr) return;
  recorder->record({*device(), kind, shard_.env().clock.unix_ms(), epoch_, std::move(fields)});
}

// For note_connected(): by then OpenSSL has forgotten it, and afterwards nobody asks.
void DeviceSession::keep_certificate(const TlsPeer& peer) {
  if (proof_ != IdentityProof::certificate || shard_.env().recorder == nullptr) return;
  TimelineFields& fields = greeting_->certificate;
  fields.emplace_back("certificate_sha256", to_hex(credential_sha256_));
  if (!peer.credentials.subject.empty()) fields.emplace_back("certificate_subject", cut(peer.credentials.subject));
  if (const std::int64_t end = peer.certificate_not_after_unix; end != 0) {
    fields.emplace_back("certificate_not_after", tls::utc(end));
  }
}

// Precondition: the greeting is there still.
void DeviceSession::note_connected() const {
  if (shard_.env().recorder == nullptr) return;
  TimelineFields fields{{"address", peer_text()}};
  if (tls_) {
    if (const auto peer = tls_.peer()) {
      fields.insert(fields.end(),
                    {{"tls", peer->version}, {"cipher", peer->cipher}, {"resumed", peer->resumed ? "true" : "false"}});
    }
  }
  fields.emplace_back("credential", to_string(proof_));
  fields.insert(fields.end(), greeting_->certificate.begin(), greeting_->certificate.end());
  fields.emplace_back("stage", to_string(stage_));
  fields.emplace_back("firmware", cut(state_->profile.firmware));
  note(TimelineKind::connected, std::move(fields));
}

// While the state is here still. Who has shown a credential gets a line in that
// device's timeline, whatever he says he is, and nobody else does.
void DeviceSession::note_end(EndReason reason, std::string_view detail) {
  FlightRecorder* recorder = shard_.env().recorder;
  if (recorder == nullptr) return;
  const std::int64_t now = shard_.env().clock.unix_ms();
  const std::string why(to_string(reason));
  if (device() == nullptr) return recorder->refused({now, why, peer_text(), cut(detail)});
  TimelineFields fields{{"reason", why}};
  if (!detail.empty()) fields.emplace_back("detail", cut(detail));
  // The greeting goes with Welcome.
  if (greeting_) {
    fields.emplace_back("address", peer_text());
    return note(TimelineKind::refused, std::move(fields));
  }
  note_untold_rejects(0);
  if (records_refused_ > 0) {
    note(TimelineKind::dropped, {{"reason", "overloaded"}, {"count", std::to_string(records_refused_)}});
  }
  fields.emplace_back("duration_ms", std::to_string(std::max<std::int64_t>(0, now - state_->since_unix_ms)));
  fields.emplace_back("frames", std::to_string(frames_in_));
  note(TimelineKind::disconnected, std::move(fields));
}

// The first is written down at once; what follows, as one line for each code, after a time that
// doubles with each: who rejects without end fills no timeline with it.
void DeviceSession::note_reject(const DecodeReject& reject) {
  if (shard_.env().recorder == nullptr) return;
  ++rejects_untold_[static_cast<std::size_t>(reject.code)];
  tell_rejects(&reject, rejects_apart_ms());
}

void DeviceSession::note_untold_rejects(std::uint32_t apart_ms) {
  if (shard_.env().recorder != nullptr) tell_rejects(nullptr, apart_ms);
}

std::uint32_t DeviceSession::rejects_apart_ms() const {
  return std::min(k_rejects_apart_ms << (std::max<unsigned>(reject_lines_, 1) - 1), k_rejects_apart_max_ms);
}

// Those of which nothing has been said yet, if the last time is so long ago. `latest`: one of them.
void DeviceSession::tell_rejects(const DecodeReject* latest, std::uint32_t apart_ms) {
  const std::uint32_t now = shard_.now_ms();
  if (rejects_told_ && now - *rejects_told_ < apart_ms) return;
  bool any = false;
  for (std::size_t code = 0; code < rejects_untold_.size(); ++code) {
    const std::uint32_t count = std::exchange(rejects_untold_[code], 0);
    if (count == 0) continue;
    any = true;
    TimelineFields fields{{"code", std::string(name_of(static_cast<RejectCode>(code)))}};
    if (latest != nullptr && latest->code == static_cast<RejectCode>(code)) {
      fields.emplace_back("text", cut(latest->text));
      fields.emplace_back("seq", std::to_string(latest->seq.value));
    }
    fields.emplace_back("count", std::to_string(count));
    note(TimelineKind::rejected, std::move(fields));
  }
  if (!any) return;
  rejects_told_ = now;
  reject_lines_ = static_cast<std::uint8_t>(std::min<unsigned>(reject_lines_ + 1U, k_reject_doublings));
}

// --- what others may know

void DeviceSession::stamp_seen() {
  if (!state_) return;
  const std::int64_t now = shard_.env().clock.unix_ms();
  const std::uint32_t now_ms = shard_.now_ms();
  state_->last_seen_unix_ms = now - static_cast<std::int64_t>(now_ms - heard_);
  if (heard_data_) state_->last_data_unix_ms = now - static_cast<std::int64_t>(now_ms - data_heard_);
}

void DeviceSession::fill(DeviceDetail& detail) const {
  detail.address = peer_text();
  if (tls_) {
    if (const auto peer = tls_.peer()) {
      detail.tls_version = peer->version;
      detail.tls_cipher = peer->cipher;
      detail.tls_resumed = peer->resumed;
    }
  }
  detail.credential = to_string(proof_);
  detail.ack_stage = to_string(stage_);
  detail.heartbeat_seconds = heartbeat_ms_ / 1'000;
  detail.frames_received = frames_in_;
  detail.bytes_received = bytes_in_;
  detail.unacked_frames = inflight_frames_;
  detail.credit_frames = granted_.frames;
}

// --- whether it may stay

// By the wall clock, which may be set: asked anew each time, and no further than a day
// ahead.
std::int32_t DeviceSession::credential_left_ms() const {
  const std::int64_t left = credential_expires_unix_ms_ - shard_.env().clock.unix_ms();
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(left, 0, k_day_ms));
}

bool DeviceSession::credential_holds(bool trust) const {
  if (credential_expires_unix_ms_ != 0 && credential_left_ms() == 0) return false;
  const DeviceIdentity identity{state_->id, proof_, credential_sha256_, credential_expires_unix_ms_};
  if (!shard_.env().authenticator.still_valid(identity)) return false;
  const auto& tls = shard_.config().tls;
  return proof_ != IdentityProof::certificate || !trust || !tls_ || !tls || still_trusted(tls_.native(), *tls);
}

void DeviceSession::recheck_credential(bool trust) {
  if (live() && !credential_holds(trust)) end(EndReason::credential_revoked);
}

}  // namespace fieldgate::net
