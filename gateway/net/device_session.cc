// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/device_session.h"

#include "gateway/core/address_book.h"
#include "gateway/net/shard.h"
#include "gateway/net/upgrade.h"
#include "gateway/ports/authenticator.h"
#include "gateway/ports/log.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace fieldgate::net {

DeviceSession::DeviceSession(Shard& shard, SessionRef ref, DeviceSocket socket,
                             const boost::asio::ip::tcp::endpoint& peer)
    : shard_(shard),
      socket_(std::move(socket)),
      codec_(shard.config().limits.frame_bytes_max),
      greeting_(std::make_unique<Greeting>()),
      connection_(shard.probe().connections),
      stage_gauge_(shard.probe().handshakes),
      peer_(peer),
      ref_(ref),
      frame_bucket_(shard.now_ms(), shard.config().limits.frames_burst),
      byte_bucket_(shard.now_ms(), static_cast<double>(shard.config().limits.bytes_burst)),
      accepted_(shard.now_ms()),
      phase_since_(accepted_),
      heard_(accepted_) {}

DeviceSession::~DeviceSession() {
  // Behind release(): who sees that it is gone sees its state leave, too.
  shard_.env().connections.fetch_sub(1, std::memory_order_release);
  shard_.env().addresses.leave(peer_.address());
}

void DeviceSession::start() {
  if (const auto& tls = shard_.config().tls) {
    tls_ = TlsChannel(*tls, shard_.tls_io());
    enter(Phase::tls);
  } else {
    enter(Phase::upgrade);
  }
  if (!shard_.poll().add(socket_.fd(), ref_)) unwatchable();
}

bool DeviceSession::pause() noexcept {
  paused_ = shard_.poll().pause(socket_.fd(), ref_);
  return paused_;
}

void DeviceSession::resume() {
  if (!std::exchange(paused_, false)) return;
  if (!shard_.poll().resume(socket_.fd(), ref_)) unwatchable();
}

void DeviceSession::unwatchable() {
  end(EndReason::descriptors, std::strerror(errno));
  close_socket();
}

const DeviceId* DeviceSession::device() const noexcept {
  if (state_) return &state_->id;
  if (greeting_ && greeting_->id) return &*greeting_->id;
  return nullptr;
}

// --- reading

void DeviceSession::readable() {
  if (phase_ == Phase::closing) return discard();
  const std::span<std::byte> scratch = shard_.scratch();
  const ssize_t n = ::recv(socket_.fd(), scratch.data(), scratch.size(), 0);
  if (n > 0) {
    heard_ = shard_.stamp_arrival();
    ping_out_ = false;
    consume(scratch.first(static_cast<std::size_t>(n)));
  } else if (n == 0) {
    // Until the upgrade it may have said all, and wait for the answer.
    unheard_ = websocket_up_;
    stream_ended();
  } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    end(EndReason::connection_reset);
  }
}

// After our Close: what still comes is of no use, but must be read, or closing
// would reset the connection and lose the Close on its way.
void DeviceSession::discard() {
  const std::span<std::byte> scratch = shard_.scratch();
  const ssize_t n = ::recv(socket_.fd(), scratch.data(), scratch.size(), 0);
  const bool over = n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
  if (over) close_socket();
}

void DeviceSession::consume(std::span<std::byte> bytes) {
  if (tls_) {
    consume_tls(bytes);
  } else {
    consume_plain(bytes);
  }
  // An unfinished message has its own deadline.
  if (live() && codec_.mid_message() != assembling_) {
    assembling_ = !assembling_;
    assembly_since_ = heard_;
    if (assembling_) refile();
  }
}

void DeviceSession::consume_tls(std::span<std::byte> bytes) {
  TlsIo& io = shard_.tls_io();
  std::span<const std::byte> ciphertext = bytes;
  if (phase_ == Phase::tls) {
    greeting_->spoken = true;
    const TlsStatus status = tls_.handshake(io, ciphertext);
    if (status == TlsStatus::failed) {
      const std::string text = io.failure().text;
      end(io.failure().certificate ? EndReason::certificate_rejected : EndReason::tls_failed, text);
      return;
    }
    if (status == TlsStatus::closed) {
      end(EndReason::tls_failed, "closed during the handshake");
      return;
    }
    if (status != TlsStatus::established) return;
    const auto peer = tls_.peer();
    if (!peer) {
      end(EndReason::certificate_rejected, peer.error().detail);
      return;
    }
    (peer->resumed ? shard_.probe().handshakes_resumed : shard_.probe().handshakes_full).add();
    shard_.probe().handshake_time.observe(std::uint64_t{shard_.now_ms() - phase_since_} * 1'000);
    enter(Phase::upgrade);
    ciphertext = io.unread();
  }
  const TlsStatus status =
      tls_.feed(io, ciphertext, [this](std::span<std::byte> plain) { return consume_plain(plain); });
  if (!open()) return;
  if (status == TlsStatus::closed) stream_ended();
  if (status == TlsStatus::failed) {
    const std::string text = io.failure().text;
    end(EndReason::tls_failed, text);
  }
}

// False once there is no use for more.
bool DeviceSession::consume_plain(std::span<std::byte> bytes) {
  if (phase_ == Phase::upgrade) {
    consume_upgrade(bytes);
  } else {
    feed_codec(bytes);
  }
  return open();
}

void DeviceSession::consume_upgrade(std::span<std::byte> bytes) {
  greeting_->spoken = true;
  std::string& request = greeting_->request;
  request.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const UpgradeResult result = parse_upgrade(std::as_bytes(std::span(request)), shard_.config().allowed_origins);
  if (std::holds_alternative<UpgradeNeedMore>(result)) return;
  if (const auto* refused = std::get_if<UpgradeRefused>(&result)) {
    end(refused->reason, refused->detail);
    return;
  }
  const auto& accepted = std::get<UpgradeAccepted>(result);
  if (!authenticate(accepted.token)) return;
  append_upgrade_accepted(shard_.plain_out(), accepted.key);
  websocket_up_ = true;
  enter(Phase::hello);
  // A client may have sent its first frames along with the request.
  std::string rest = request.substr(accepted.consumed);
  request = std::string();
  if (!rest.empty()) feed_codec(std::as_writable_bytes(std::span(rest)));
}

bool DeviceSession::authenticate(std::string_view token) {
  TlsPeer peer;
  if (tls_) {
    auto shown = tls_.peer();
    if (!shown) {
      end(EndReason::certificate_rejected, shown.error().detail);
      return false;
    }
    peer = std::move(*shown);
  }
  peer.credentials.bearer_token = token;
  auto identity = shard_.env().authenticator.authenticate(peer.credentials);
  if (!identity) {
    shard_.env().log.info("device_unauthenticated",
                          {{"peer", peer_.address().to_string()}, {"detail", identity.error().detail}});
    end(EndReason::unauthenticated, identity.error().detail);
    return false;
  }
  proof_ = identity->proof;
  credential_sha256_ = identity->sha256;
  credential_expires_unix_ms_ = identity->expires_unix_ms;
  keep_certificate(peer);
  // What the certificate said is known: OpenSSL need not keep it.
  if (tls_) tls_.settle();
  greeting_->id = std::move(identity->id);
  return true;
}

void DeviceSession::feed_codec(std::span<std::byte> bytes) {
  const Verdict verdict = codec_.feed(bytes, *this);
  if (verdict) end(*verdict);
}

void DeviceSession::stream_ended() {
  switch (phase_) {
    case Phase::tls: return end(EndReason::tls_failed, "closed during the handshake");
    case Phase::upgrade: return end(EndReason::upgrade_malformed, "closed before the request was complete");
    default: return end(EndReason::unclean_close);
  }
}

// --- writing

void DeviceSession::send(WsOpcode opcode, std::span<const std::byte> payload) {
  append_frame(shard_.plain_out(), opcode, payload);
}

void DeviceSession::send_frame() {
  const std::string& frame = shard_.frame_scratch();
  if (frame.size() > receive_max_) {
    shard_.env().log.warn("frame_not_sent", {{"device", device() ? std::string_view(*device()) : ""},
                                             {"bytes", frame.size()},
                                             {"receive_max_bytes", receive_max_}});
    return;
  }
  send(WsOpcode::binary, std::as_bytes(std::span(frame)));
}

void DeviceSession::seal_plain() {
  std::string& plain = shard_.plain_out();
  if (plain.empty()) return;
  if (tls_) {
    tls_.write(shard_.tls_io(), std::as_bytes(std::span(plain)));
  } else {
    shard_.tls_io().out().append(plain);
  }
  plain.clear();
}

void DeviceSession::flush() {
  if (!gone()) {
    seal_plain();
    std::string& out = shard_.tls_io().out();
    if (!out.empty()) transmit(out);
    if (phase_ == Phase::closing) finish_close();
  }
  shard_.plain_out().clear();
  shard_.tls_io().out().clear();
}

void DeviceSession::transmit(std::string& bytes) {
  shard_.probe().bytes_out.add(bytes.size());
  if (outbox_) {
    outbox_->append(bytes);
  } else {
    const ssize_t n = ::send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
      bytes.clear();
      if (open()) end(EndReason::connection_reset);
      return close_socket();
    }
    const auto sent = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    if (sent == bytes.size()) return;
    outbox_ = std::make_unique<std::string>(bytes, sent);
    stalled_since_ = shard_.now_ms();
    if (live()) refile();
    shard_.poll().watch_writable(socket_.fd(), ref_, true);
  }
  if (open() && outbox_->size() > shard_.config().session.outbox_bytes_max) {
    bytes.clear();
    // Nothing more can be said to it.
    outbox_->clear();
    end(EndReason::slow_reader);
    shard_.plain_out().clear();
    close_socket();
  }
}

void DeviceSession::writable() {
  if (!outbox_) return;
  const ssize_t n = ::send(socket_.fd(), outbox_->data(), outbox_->size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    if (open()) end(EndReason::connection_reset);
    return close_socket();
  }
  if (n > 0) {
    outbox_->erase(0, static_cast<std::size_t>(n));
    stalled_since_ = shard_.now_ms();
  }
  if (!outbox_->empty()) return;
  outbox_.reset();
  shard_.poll().watch_writable(socket_.fd(), ref_, false);
}

// --- ending

void DeviceSession::end(EndReason reason, std::string_view detail) {
  if (!open()) return;
  shard_.probe().ends[static_cast<std::size_t>(reason)].add();
  if (reason == EndReason::device_disabled && phase_ == Phase::live) shard_.probe().sessions_disabled.add();
  Log& log = shard_.env().log;
  if (log.enabled(LogLevel::info)) {
    log.info("session_ended", {{"reason", to_string(reason)},
                               {"device", device() ? std::string_view(*device()) : std::string_view()},
                               {"epoch", epoch_.value},
                               {"peer", peer_.address().to_string()},
                               {"frames", frames_in_},
                               {"detail", detail}});
  }
  const bool no_use = unheard_ || reason == EndReason::connection_reset || reason == EndReason::tls_timeout;
  if (!no_use) say_farewell(reason);
  let_go(reason, detail);
  stage_gauge_.reset();
  greeting_.reset();
  codec_.close_sent();
  enter(Phase::closing);
  if (paused_) resume();  // there is nothing to wait for any more but the end of the stream
  if (no_use) close_socket();
}

void DeviceSession::say_farewell(EndReason reason) {
  const EndReasonInfo& what = info(reason);
  std::string& out = shard_.plain_out();
  if (phase_ == Phase::upgrade && what.http_status != 0) append_upgrade_refused(out, reason);
  if (websocket_up_ && what.close_code != 0 && !peer_close_seen_) {
    send_goodbye(reason);
    append_close(out, what.close_code, what.name);
  }
  if (tls_ && phase_ != Phase::tls) {
    seal_plain();
    tls_.start_close(shard_.tls_io());
  }
}

void DeviceSession::let_go(EndReason reason, std::string_view detail) {
  if (phase_ != Phase::live) {
    note_end(reason, detail);
    if (phase_ == Phase::claiming) shard_.abandon(*greeting_->id, ref_);
    return;
  }
  shard_.flush();  // while what the log refuses can still be taken off the marks
  stamp_seen();
  note_end(reason, detail);
  marks_ = nullptr;
  if (stage_ == AckStage::accepted) shard_.accepted_sessions(-1);
  shard_.release(std::move(state_), epoch_, reason);
}

// Closing: once everything is written, our side of the stream ends; the peer's
// end, or the deadline, closes the socket.
void DeviceSession::finish_close() {
  if (outbox_ || fin_sent_) return;
  fin_sent_ = true;
  ::shutdown(socket_.fd(), SHUT_WR);
}

void DeviceSession::close_socket() noexcept {
  socket_.close();
  phase_ = Phase::gone;
}

void DeviceSession::abort() noexcept {
  if (phase_ == Phase::live) {
    shard_.probe().ends[static_cast<std::size_t>(EndReason::drain)].add();
    stage_gauge_.reset();
    try {
      note_end(EndReason::drain, "cut off as the gateway stopped");
    } catch (const std::bad_alloc&) {  // a line less
    }
  }
  close_socket();
}

}  // namespace fieldgate::net
