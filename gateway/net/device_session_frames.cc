// SPDX-License-Identifier: Apache-2.0
//
// The part of DeviceSession that speaks the wire contract: what comes up, what
// goes down, credit and acknowledgements.
#include "gateway/net/device_session.h"
#include "gateway/net/shard.h"
#include "gateway/ports/authenticator.h"
#include "gateway/ports/log.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

namespace fieldgate::net {
namespace {

// Metrics of a frame go to the last values of the device that sent it.
class LastValueSink final : public MetricSink {
 public:
  explicit LastValueSink(LastValues* values) : values_(values) {}
  void metric(std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality) override {
    if (values_ != nullptr) values_->update(name, value, unix_ms, quality);
  }

 private:
  LastValues* values_;
};

RecordKind record_kind(FrameKind kind) {
  switch (kind) {
    case FrameKind::event: return RecordKind::event;
    case FrameKind::state: return RecordKind::state;
    case FrameKind::opaque: return RecordKind::opaque;
    case FrameKind::command_ack:
    case FrameKind::command_result:
    case FrameKind::desired_ack: return RecordKind::command_reply;
    default: return RecordKind::telemetry;
  }
}

struct Farewell {
  GoodbyeReason reason;
  std::uint32_t reconnect_after_ms;
};

// What a device that speaks the contract is told besides the close code.
std::optional<Farewell> farewell(EndReason reason) {
  switch (reason) {
    case EndReason::taken_over: return Farewell{GoodbyeReason::taken_over, 30'000};
    case EndReason::takeover_timeout:
    case EndReason::no_epoch: return Farewell{GoodbyeReason::retry, 5'000};
    case EndReason::overloaded: return Farewell{GoodbyeReason::overloaded, 10'000};
    case EndReason::credential_revoked: return Farewell{GoodbyeReason::credential_revoked, 60'000};
    case EndReason::stream_reused: return Farewell{GoodbyeReason::stream_reused, 0};
    case EndReason::kicked: return Farewell{GoodbyeReason::kicked, 0};
    case EndReason::device_unknown:
    case EndReason::device_disabled: return Farewell{GoodbyeReason::policy, 300'000};
    case EndReason::takeover_rate:
    case EndReason::flow_violation:
    case EndReason::frame_rate:
    case EndReason::byte_rate:
    case EndReason::frame_too_large:
    case EndReason::hello_id_mismatch:
    case EndReason::protocol_state: return Farewell{GoodbyeReason::policy, 30'000};
    default: return std::nullopt;
  }
}

}  // namespace

// --- WebSocket level

Verdict DeviceSession::on_frame(WsOpcode, std::size_t bytes) {
  const LimitSettings& limits = shard_.config().limits;
  const std::uint32_t now = heard_;
  shard_.probe().ws_frames_in.add();
  shard_.probe().bytes_in.add(bytes);
  bytes_in_ += bytes;
  if (!frame_bucket_.take(now, 1.0, limits.frames_per_second, limits.frames_burst)) return EndReason::frame_rate;
  if (!byte_bucket_.take(now, static_cast<double>(bytes), static_cast<double>(limits.bytes_per_second),
                         static_cast<double>(limits.bytes_burst))) {
    return EndReason::byte_rate;
  }
  return std::nullopt;
}

Verdict DeviceSession::on_ping(std::span<std::byte> payload) {
  send(WsOpcode::pong, payload);
  return std::nullopt;
}

Verdict DeviceSession::on_pong(std::span<std::byte> payload) {
  // The pong of the ping that followed a Throttle: the device has seen it, and
  // all that it sent before is here.
  if (throttle_pending_ && payload.size() == sizeof(throttle_mark_) &&
      std::memcmp(payload.data(), &throttle_mark_, sizeof(throttle_mark_)) == 0) {
    throttle_pending_ = false;
    enforced_ = granted_;
  }
  return std::nullopt;
}

void DeviceSession::on_close(std::uint16_t code, std::string_view reason) {
  peer_close_seen_ = true;
  // RFC 6455 section 5.5.1: the Close is answered with the code that came.
  append_close(shard_.plain_out(), code == k_ws_no_code ? std::uint16_t{1000} : code, {});
  const bool orderly = code == 1000 || code == 1001 || code == k_ws_no_code;
  const std::string detail(reason);
  end(orderly ? EndReason::bye : EndReason::peer_closed, detail);
}

Verdict DeviceSession::on_message(std::span<std::byte> payload) {
  // What is begun behind it has a deadline of its own.
  assembly_since_ = heard_;
  if (phase_ != Phase::hello && phase_ != Phase::live) return EndReason::protocol_state;
  LastValueSink sink(state_ ? &state_->last_values : nullptr);
  const auto decoded = shard_.decoder().decode(payload, shard_.arrived_unix_ms(), sink);
  if (!decoded) {
    end(phase_ == Phase::hello ? EndReason::hello_invalid : EndReason::malformed_frame, decoded.error().detail);
    return std::nullopt;
  }
  if (const auto* reject = std::get_if<DecodeReject>(&*decoded)) return take_reject(*reject);
  return take_frame(std::get<UpFrame>(*decoded), payload);
}

// --- what comes up

Verdict DeviceSession::take_frame(const UpFrame& frame, std::span<const std::byte> message) {
  ++frames_in_;
  if (phase_ == Phase::hello) {
    return frame.kind == FrameKind::hello ? take_hello(frame) : Verdict(EndReason::protocol_state);
  }
  switch (frame.kind) {
    case FrameKind::hello: return EndReason::protocol_state;
    case FrameKind::bye: return EndReason::bye;
    case FrameKind::time_request:
      shard_.encoder().time(frame.token, shard_.env().clock.unix_ms(), shard_.frame_scratch());
      send_frame();
      return std::nullopt;
    default: return take_data(frame, message);
  }
}

Verdict DeviceSession::take_hello(const UpFrame& frame) {
  const HelloFrame& hello = *frame.hello;
  if (hello.device_id != greeting_->id->str()) {
    end(EndReason::hello_id_mismatch, "Hello says " + hello.device_id.substr(0, k_name_bytes_max));
    return std::nullopt;
  }
  greeting_->hello = hello;
  receive_max_ = hello.receive_max_bytes;
  takes_commands_ = hello.takes_commands;
  takes_command_cancels_ = hello.takes_command_cancels;
  takes_desired_ = hello.takes_desired;
  enter(Phase::claiming);
  shard_.claim(*greeting_->id, ref_, DeviceProfile{hello.firmware_version, hello.labels}, peer_text());
  return std::nullopt;
}

bool DeviceSession::count_sequence(Seq seq) {
  if (seq <= marks_->received) {
    ++marks_->duplicates;
    shard_.probe().duplicates.add();
    ack_forced_ = true;
    want_ack();
    return false;
  }
  const std::uint64_t expected = std::max(marks_->received.value, marks_->gap_base.value) + 1;
  if (seq.value > expected) {
    marks_->gaps += seq.value - expected;
    shard_.probe().gaps.add(seq.value - expected);
  }
  return true;
}

Verdict DeviceSession::check_credit(std::size_t bytes) const {
  if (inflight_frames_ + 1 > enforced_.frames || inflight_bytes_ + bytes > enforced_.bytes) {
    return EndReason::flow_violation;
  }
  return std::nullopt;
}

Verdict DeviceSession::take_data(const UpFrame& frame, std::span<const std::byte> message) {
  ShardProbe& probe = shard_.probe();
  data_heard_ = heard_;
  heard_data_ = true;
  // To take a later frame now would let an Ack cover the one that was refused.
  if (records_refused_ > 0) return EndReason::overloaded;
  if (!count_sequence(frame.seq)) return std::nullopt;
  if (const Verdict verdict = check_credit(message.size())) return verdict;
  const RecordKind kind = record_kind(frame.kind);
  marks_->received = marks_->logged = frame.seq;
  ++inflight_frames_;
  inflight_bytes_ += message.size();
  probe.samples.add(frame.samples);
  probe.metrics.add(frame.metrics);
  RecordView record;
  record.kind = kind;
  record.device = state_->id.str();
  record.name = frame.name;
  record.stream = marks_->id;
  record.seq = frame.seq;
  record.epoch = epoch_;
  record.received_unix_ms = shard_.arrived_unix_ms();
  record.payload = message;
  record.session = ref_;
  record.lanes = state_->lanes;
  if (watched_) shard_.tap(record);
  shard_.ingest(record);
  return std::nullopt;
}

Verdict DeviceSession::take_reject(const DecodeReject& reject) {
  if (phase_ != Phase::live) return EndReason::protocol_state;
  ++frames_in_;
  if (records_refused_ > 0) return EndReason::overloaded;
  if (!count_sequence(reject.seq)) return std::nullopt;
  shard_.probe().rejects[static_cast<std::size_t>(reject.code)].add();
  marks_->received = reject.seq;
  note_reject(reject);
  shard_.encoder().reject(reject, shard_.frame_scratch());
  send_frame();
  ack_forced_ = ack_forced_ || inflight_frames_ == 0;
  want_ack();
  return std::nullopt;
}

void DeviceSession::refused_by_log(const RecordView& record) {
  ++records_refused_;
  if (!state_ || marks_ == nullptr || marks_->id != record.stream) return;
  const Seq before{record.seq.value - 1};
  marks_->received = std::min(marks_->received, before);
  marks_->logged = std::min(marks_->logged, before);
}

// --- Welcome

void DeviceSession::granted(std::unique_ptr<DeviceState> state, Epoch epoch) {
  if (phase_ != Phase::claiming) {
    shard_.release(std::move(state), epoch, EndReason::connection_reset);
    return;
  }
  epoch_ = epoch;
  state_ = std::move(state);
  const HelloFrame& hello = greeting_->hello;
  marks_ = state_->streams.open(hello.stream, hello.oldest, hello.last);
  phase_ = Phase::live;
  stage_ = shard_.env().uplink.grant(hello.stage);
  if (stage_ == AckStage::accepted) shard_.accepted_sessions(+1);
  if (marks_ == nullptr) return end(EndReason::stream_reused);
  // What had changed by now was asked of the sessions that were live then.
  const auto& tls = shard_.config().tls;
  if (!credential_holds(tls_ && tls && !tls_.began_with(*tls))) return end(EndReason::credential_revoked);
  credential_asked_ = shard_.now_ms();
  watched_ = shard_.watches(state_->id);
  welcome();
}

void DeviceSession::welcome() {
  const SessionConfig& config = shard_.config();
  const HelloFrame& hello = greeting_->hello;
  const auto wanted = hello.heartbeat_seconds == 0 ? config.session.heartbeat : seconds(hello.heartbeat_seconds);
  const seconds heartbeat = std::clamp(wanted, config.session.heartbeat_min, config.session.heartbeat_max);
  heartbeat_ms_ = static_cast<std::uint32_t>(milliseconds(heartbeat).count());
  staged_ = marks_->through(stage_);
  acked_ = ackable();
  granted_ = enforced_ = credit_for(shard_.level());

  WelcomeFrame frame;
  frame.epoch = epoch_;
  frame.stage = stage_;
  frame.credit = granted_;
  frame.heartbeat_seconds = static_cast<std::uint32_t>(heartbeat.count());
  frame.ack_every_frames = config.session.ack_every_frames;
  frame.ack_every_ms = static_cast<std::uint32_t>(config.session.ack_every.count());
  frame.acked_through = acked_;
  frame.received_through = marks_->received;
  frame.server_unix_ms = shard_.env().clock.unix_ms();
  frame.node = config.node;
  shard_.encoder().welcome(frame, shard_.frame_scratch());
  send_frame();

  stage_gauge_ = GaugeHold(shard_.probe().sessions);
  shard_.probe().welcome_time.observe(std::uint64_t{shard_.now_ms() - accepted_} * 1'000);
  note_connected();
  greeting_.reset();
  enter(Phase::live);
}

void DeviceSession::fenced(Epoch epoch, std::string_view by) {
  if (phase_ != Phase::live || epoch_ != epoch) return;
  shard_.probe().takeovers.add();
  note(TimelineKind::taken_over, {{"by", std::string(by)}});
  end(EndReason::taken_over);
}

void DeviceSession::renew(Epoch fresh) {
  const Epoch lost = std::exchange(epoch_, fresh);
  shard_.renewed(*state_, lost, fresh);
}

// --- acknowledgements

Seq DeviceSession::ackable() const noexcept { return ack_through(*marks_, staged_); }

void DeviceSession::staged(const RecordView& record) {
  staged_ = std::max(staged_, record.seq);
  inflight_frames_ -= std::min<std::uint32_t>(inflight_frames_, 1);
  inflight_bytes_ -= std::min<std::uint64_t>(inflight_bytes_, record.payload.size());
  ++since_ack_;
  want_ack();
}

void DeviceSession::staged_late(AckStage stage, StreamId stream, Seq seq) {
  if (!live()) return;
  StreamMarks* marks = state_->streams.find(stream);
  if (marks == nullptr) return;
  marks->raise(stage, seq);
  if (marks != marks_ || stage != stage_) return;
  staged_ = std::max(staged_, seq);
  want_ack();
}

void DeviceSession::want_ack() {
  if (since_ack_ >= shard_.config().session.ack_every_frames) return send_ack();
  if (ack_listed_) return;
  ack_listed_ = true;
  shard_.ack_later(ref_);
}

void DeviceSession::ack_due() {
  ack_listed_ = false;
  if (live()) send_ack();
}

// Also before it is due, for many frames: it stays listed, so that it is so once.
void DeviceSession::send_ack() {
  const Seq through = ackable();
  if (through > acked_ || ack_forced_) {
    shard_.encoder().ack(through, shard_.frame_scratch());
    send_frame();
    shard_.probe().acks_out.add();
    shard_.probe().acked_records.add(since_ack_);
    acked_ = through;
  }
  since_ack_ = 0;
  ack_forced_ = false;
}

// --- credit

CreditGrant DeviceSession::credit_for(UplinkLevel level) const {
  const SessionSettings& session = shard_.config().session;
  switch (level) {
    case UplinkLevel::normal: return {session.credit_frames, session.credit_bytes};
    case UplinkLevel::reduced:
      // Room for one frame of any size, whatever the share.
      return {std::max<std::uint32_t>(1, session.credit_frames / 8),
              std::max<std::uint64_t>(shard_.config().limits.frame_bytes_max, session.credit_bytes / 8)};
    case UplinkLevel::withheld: return {0, 0};
  }
  return {};
}

void DeviceSession::regrant(bool raise) {
  if (!live()) return;
  const CreditGrant grant = credit_for(shard_.level());
  if (grant == granted_) return;
  const bool more = grant.frames >= granted_.frames && grant.bytes >= granted_.bytes;
  if (more && !raise) return;
  shard_.encoder().throttle(grant, more ? ThrottleReason::recovered : ThrottleReason::backlog, shard_.frame_scratch());
  send_frame();
  shard_.probe().throttles_out.add();
  note(TimelineKind::throttled, {{"frames", std::to_string(grant.frames)},
                                 {"bytes", std::to_string(grant.bytes)},
                                 {"reason", more ? "recovered" : "backlog"}});
  granted_ = grant;
  enforced_ = {std::max(enforced_.frames, grant.frames), std::max(enforced_.bytes, grant.bytes)};
  throttle_pending_ = enforced_ != granted_;
  if (!throttle_pending_) return;
  // Frames already on their way were allowed: the lower credit counts from the
  // pong on, or once a pong would be overdue.
  ++throttle_mark_;
  throttle_since_ = shard_.now_ms();
  send(WsOpcode::ping, std::as_bytes(std::span(&throttle_mark_, 1)));
  refile();
}

// --- going

void DeviceSession::send_goodbye(EndReason reason) {
  if (const auto told = farewell(reason)) {
    shard_.encoder().goodbye(told->reason, told->reconnect_after_ms, to_string(reason), shard_.frame_scratch());
    send_frame();
  }
}

void DeviceSession::dismiss(GoodbyeReason reason, std::uint32_t reconnect_after_ms, EndReason end_reason) {
  if (!open()) return;
  if (websocket_up_) {
    shard_.encoder().goodbye(reason, reconnect_after_ms, to_string(end_reason), shard_.frame_scratch());
    send_frame();
  }
  end(end_reason);
}

// --- what others ask to be sent

Delivery DeviceSession::deliver(const DownMessage& message) {
  const WireEncoder& encoder = shard_.encoder();
  std::string& frame = shard_.frame_scratch();
  bool takes = false;
  if (const auto* command = std::get_if<CommandFrame>(&message)) {
    takes = takes_commands_;
    encoder.command(*command, frame);
  } else if (const auto* cancel = std::get_if<CommandCancelFrame>(&message)) {
    takes = takes_command_cancels_;
    encoder.command_cancel(*cancel, frame);
  } else {
    takes = takes_desired_;
    encoder.desired(std::get<DesiredFrame>(message), frame);
  }
  if (!takes) return Delivery::unsupported;
  // A quarter that may be waiting and this make three, so that it never is what ends
  // the session.
  const std::uint64_t quarter = shard_.config().session.outbox_bytes_max / 4;
  if (frame.size() > std::min<std::uint64_t>(receive_max_, 2 * quarter)) return Delivery::too_large;
  if (outbox_ && outbox_->size() > quarter) return Delivery::busy;
  send(WsOpcode::binary, std::as_bytes(std::span(frame)));
  return Delivery::sent;
}

}  // namespace fieldgate::net
