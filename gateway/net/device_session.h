// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/cell.h"
#include "gateway/core/device_state.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/record.h"
#include "gateway/core/timeline.h"
#include "gateway/core/timer_wheel.h"
#include "gateway/core/token_bucket.h"
#include "gateway/net/device_socket.h"
#include "gateway/net/tls_channel.h"
#include "gateway/net/ws_codec.h"
#include "gateway/ports/authenticator.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/uplink.h"
#include "gateway/ports/wire.h"

#include <boost/asio/ip/tcp.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fieldgate::net {

class Shard;

// One device connection, from accept to the closed socket.
//
//   tls -> upgrade -> hello -> claiming -> live -> closing -> gone
//
// It is driven by calls: bytes are there, a deadline has come, the home shard has
// answered, records have reached a stage. It never waits; while it idles it holds
// no buffer. Each phase has one deadline. The first reason to end is the one that
// counts; it is logged, counted and told to the device.
// Shard:  every member, and the destructor, run on the session's shard, within
//         Shard::with_session().
// Owns:   the socket, the TLS state and, while live, the device's state.
// Bounds: one unfinished message (limits.frame_bytes_max) inward; outward
//         session.outbox_bytes_max, beyond which the device is a slow reader.
class DeviceSession final : public TimerNode, private WsSink {
 public:
  // Who only has to move is to come back at a random time within this.
  static constexpr std::uint32_t k_move_reconnect_ms = 2'000;

  DeviceSession(Shard& shard, SessionRef ref, DeviceSocket socket, const boost::asio::ip::tcp::endpoint& peer);
  ~DeviceSession();

  void start();
  void readable();
  void writable();
  void deadline(std::uint32_t now_ms);
  // Not let in yet, for it is we who wait for the peer, who has said nothing for longer than it may while others wait
  // for its place.
  bool stalls(std::uint32_t now_ms) const noexcept;
  // Ends it as if its time were over. Precondition: stalls().
  void give_way();

  // The home shard's answers to claim().
  void granted(std::unique_ptr<DeviceState> state, Epoch epoch);
  // Another connection of this id takes over, from the address `by`.
  void fenced(Epoch epoch, std::string_view by);
  // Goes on in another epoch: what is said from here on carries that. Precondition: live().
  void renew(Epoch fresh);

  // Records of this session through `seq` have reached `stage`, whatever the
  // session's own. Precondition: live().
  void mark(AckStage stage, Seq seq) noexcept { marks_->raise(stage, seq); }
  // A record of this session has reached the session's stage.
  void staged(const RecordView& record);
  // One that an earlier connection had sent has reached `stage`.
  void staged_late(AckStage stage, StreamId stream, Seq seq);
  // The log did not take this record: it counts as never received.
  void refused_by_log(const RecordView& record);
  // The Ack for which it was listed: Shard::ack_later().
  void ack_due();

  // Credit according to the shard's present level: only if that is less, or also more.
  void take_credit() { regrant(false); }
  void give_credit() { regrant(true); }
  // Precondition: live(). Neither waits nor ends the session. Returns all but
  // Delivery::offline.
  Delivery deliver(const DownMessage& message);
  void set_watched(bool watched) noexcept { watched_ = watched; }
  // Ends a live session whose credential is good no more; `trust`: ask that of its
  // certificate's chain as well.
  void recheck_credential(bool trust);
  // Goodbye, then end().
  void dismiss(GoodbyeReason reason, std::uint32_t reconnect_after_ms, EndReason end_reason);
  void end(EndReason reason, std::string_view detail = {});
  // What this step wants to send goes to the socket. The last call of each step.
  void flush();
  // The peer has hung up: to be seen to later, when the shard resumes it, or it ends otherwise.
  // False: its socket is watched still.
  bool pause() noexcept;
  void resume();
  // No farewell, no waiting: the process stops.
  void abort() noexcept;

  bool gone() const noexcept { return phase_ == Phase::gone; }
  bool live() const noexcept { return phase_ == Phase::live; }
  bool arriving() const noexcept { return phase_ < Phase::live; }
  bool open() const noexcept { return phase_ < Phase::closing; }
  Epoch epoch() const noexcept { return epoch_; }
  AckStage stage() const noexcept { return stage_; }
  SessionRef ref() const noexcept { return ref_; }
  const DeviceState* state() const noexcept { return state_.get(); }
  // As authenticated; nullptr: not yet.
  const DeviceId* device() const noexcept;
  // Stamps activity into the device's state before it is looked at or moves.
  void stamp_seen();
  void fill(DeviceDetail& detail) const;

 private:
  // Rejects in the timeline: at first, and at most.
  static constexpr std::uint32_t k_rejects_apart_ms = 1'000;
  static constexpr std::uint32_t k_rejects_apart_max_ms = 3'600'000;
  static constexpr unsigned k_reject_doublings = 13;

  enum class Phase : std::uint8_t { tls, upgrade, hello, claiming, live, closing, gone };

  // Needed until Welcome, and freed then.
  struct Greeting {
    bool spoken = false;         // a byte has come
    std::string request;         // HTTP, until the upgrade
    std::optional<DeviceId> id;  // authenticated
    HelloFrame hello;
    TimelineFields certificate;  // that it was believed by
  };

  // WsSink
  Verdict on_frame(WsOpcode opcode, std::size_t bytes) override;
  Verdict on_message(std::span<std::byte> payload) override;
  Verdict on_ping(std::span<std::byte> payload) override;
  Verdict on_pong(std::span<std::byte> payload) override;
  void on_close(std::uint16_t code, std::string_view reason) override;

  EndReason too_late() const noexcept;
  void refile();
  // When the wheel is to look at this session again; never before `now`.
  std::uint32_t due_ms(std::uint32_t now) const;
  void enter(Phase phase);
  void consume(std::span<std::byte> bytes);
  void consume_tls(std::span<std::byte> bytes);
  bool consume_plain(std::span<std::byte> bytes);
  void consume_upgrade(std::span<std::byte> bytes);
  void feed_codec(std::span<std::byte> bytes);
  void stream_ended();
  void unwatchable();
  void discard();
  bool authenticate(std::string_view token);  // false: ended
  bool credential_holds(bool trust) const;
  std::int32_t credential_left_ms() const;
  std::int32_t age_left_ms(std::uint32_t now) const;  // precondition: session.age_max is set

  Verdict take_frame(const UpFrame& frame, std::span<const std::byte> message);
  Verdict take_hello(const UpFrame& frame);
  Verdict take_data(const UpFrame& frame, std::span<const std::byte> message);
  Verdict take_reject(const DecodeReject& reject);
  Verdict check_credit(std::size_t bytes) const;
  void welcome();
  bool count_sequence(Seq seq);  // false: a duplicate
  Seq ackable() const noexcept;
  void want_ack();
  void send_ack();
  CreditGrant credit_for(UplinkLevel level) const;
  void regrant(bool raise);

  void send(WsOpcode opcode, std::span<const std::byte> payload);
  void send_frame();  // the shard's frame scratch, as one binary message
  void transmit(std::string& bytes);
  void seal_plain();
  void send_goodbye(EndReason reason);
  void say_farewell(EndReason reason);
  void let_go(EndReason reason, std::string_view detail);
  void finish_close();
  void close_socket() noexcept;

  // To the flight recorder.
  void note(TimelineKind kind, TimelineFields fields) const;
  void keep_certificate(const TlsPeer& peer);
  void note_connected() const;
  void note_end(EndReason reason, std::string_view detail);
  void note_reject(const DecodeReject& reject);
  // Unless some were written down less than `apart_ms` ago.
  void note_untold_rejects(std::uint32_t apart_ms);
  void tell_rejects(const DecodeReject* latest, std::uint32_t apart_ms);
  std::uint32_t rejects_apart_ms() const;
  std::string peer_text() const;

  Shard& shard_;
  DeviceSocket socket_;
  TlsChannel tls_;
  WsCodec codec_;
  std::unique_ptr<DeviceState> state_;  // while live
  std::unique_ptr<Greeting> greeting_;
  std::unique_ptr<std::string> outbox_;  // ciphertext the socket would not take
  GaugeHold connection_;
  GaugeHold stage_gauge_;  // handshakes, then sessions
  boost::asio::ip::tcp::endpoint peer_;
  SessionRef ref_;
  Epoch epoch_;
  // What it was believed by.
  std::int64_t credential_expires_unix_ms_ = 0;  // 0: never
  Sha256 credential_sha256_{};
  StreamMarks* marks_ = nullptr;  // in state_, while live

  std::uint64_t frames_in_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t inflight_bytes_ = 0;
  std::uint32_t inflight_frames_ = 0;
  CreditGrant granted_;   // last told
  CreditGrant enforced_;  // the most the device can believe to have
  Seq staged_;            // at the session's stage
  Seq acked_;             // last told
  TokenBucket frame_bucket_;
  TokenBucket byte_bucket_;

  // Milliseconds on the shard's clock.
  std::uint32_t accepted_;
  std::uint32_t phase_since_;
  std::uint32_t heard_;
  std::uint32_t data_heard_ = 0;
  std::uint32_t stalled_since_ = 0;   // the socket took nothing since
  std::uint32_t assembly_since_ = 0;  // an unfinished message since
  std::uint32_t throttle_since_ = 0;  // lower credit told, pong not seen
  std::uint32_t heartbeat_ms_ = 0;
  std::uint32_t receive_max_ = 4'096;
  std::uint32_t throttle_mark_ = 0;                             // payload of the ping after the last Throttle
  std::uint32_t credential_asked_ = 0;                          // whether it still holds
  std::array<std::uint32_t, k_reject_codes> rejects_untold_{};  // to the flight recorder, by code
  std::optional<std::uint32_t> rejects_told_;                   // when some were; set if any are untold
  std::uint32_t records_refused_ = 0;
  std::uint16_t since_ack_ = 0;
  Phase phase_ = Phase::tls;
  AckStage stage_ = AckStage::unspecified;
  IdentityProof proof_ = IdentityProof::certificate;
  std::uint8_t reject_lines_ = 0;  // how often some were told
  bool takes_commands_ = false;
  bool takes_command_cancels_ = false;
  bool takes_desired_ = false;
  bool watched_ = false;  // each record to the live tap too
  bool heard_data_ = false;
  bool ping_out_ = false;  // and nothing heard since
  bool assembling_ = false;
  bool throttle_pending_ = false;
  bool ack_listed_ = false;
  bool ack_forced_ = false;  // a duplicate or reject wants an answer
  bool websocket_up_ = false;
  bool peer_close_seen_ = false;
  bool paused_ = false;
  bool unheard_ = false;  // the peer has ended the stream: there is nobody to say farewell to
  bool fin_sent_ = false;
};

}  // namespace fieldgate::net
