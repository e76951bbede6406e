// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/encoder.h"

#include "adapters/wire/field_writer.h"

#include <utility>

namespace fieldgate::wire {
namespace {

// Field numbers: proto/fieldgate/v1/device.proto and northbound.proto, whose enums
// have the numbers of the port's.
static_assert(static_cast<int>(AckStage::forwarded) == 3);
static_assert(static_cast<int>(RejectCode::too_large) == 4);
static_assert(static_cast<int>(ThrottleReason::recovered) == 2);
static_assert(static_cast<int>(GoodbyeReason::kicked) == 8);

template <class Enum>
std::uint64_t number_of(Enum value) noexcept {
  return static_cast<std::uint64_t>(value);
}

// One GatewayFrame with the kind `field`.
template <class Write>
void frame(std::string& out, std::uint32_t field, Write&& write) {
  out.clear();
  FieldWriter(out).message(field, std::forward<Write>(write));
}

void write_credit(FieldWriter& to, std::uint32_t field, const CreditGrant& credit) {
  to.message(field, [&](FieldWriter& in) {
    in.number(1, credit.frames);
    in.number(2, credit.bytes);
  });
}

}  // namespace

void Encoder::welcome(const WelcomeFrame& welcome, std::string& out) const {
  frame(out, 1, [&](FieldWriter& to) {
    to.number(1, welcome.epoch.value);
    to.number(2, number_of(welcome.stage));
    write_credit(to, 3, welcome.credit);
    to.message(4, [&](FieldWriter& in) {
      in.number(1, limits_.frame_bytes_max);
      in.number(2, limits_.frames_per_second);
      in.number(3, limits_.bytes_per_second);
      in.number(4, limits_.metrics_per_frame);
      in.number(5, limits_.value_bytes_max);
    });
    to.number(5, welcome.heartbeat_seconds);
    to.number(6, welcome.ack_every_frames);
    to.number(7, welcome.ack_every_ms);
    to.number(8, welcome.acked_through.value);
    to.number(9, welcome.received_through.value);
    to.number(10, static_cast<std::uint64_t>(welcome.server_unix_ms));
    to.text(11, welcome.node);
  });
}

// The one that is sent all the time: at most 13 bytes, written in place.
void Encoder::ack(Seq through, std::string& out) const {
  char bytes[16];
  std::size_t size = 2;
  bytes[0] = 2 << 3 | 2;  // GatewayFrame.ack
  if (through.value != 0) {
    bytes[size++] = 1 << 3;  // Ack.through
    std::uint64_t rest = through.value;
    for (; rest >= 0x80; rest >>= 7) bytes[size++] = static_cast<char>(rest | 0x80);
    bytes[size++] = static_cast<char>(rest);
  }
  bytes[1] = static_cast<char>(size - 2);
  out.assign(bytes, size);
}

void Encoder::reject(const DecodeReject& reject, std::string& out) const {
  frame(out, 3, [&](FieldWriter& to) {
    to.number(1, reject.seq.value);
    to.number(2, number_of(reject.code));
    to.text(3, reject.text);
  });
}

void Encoder::throttle(const CreditGrant& credit, ThrottleReason reason, std::string& out) const {
  frame(out, 4, [&](FieldWriter& to) {
    write_credit(to, 1, credit);
    to.number(2, number_of(reason));
  });
}

void Encoder::time(std::uint64_t token, std::int64_t unix_ms, std::string& out) const {
  frame(out, 8, [&](FieldWriter& to) {
    to.number(1, token);
    to.number(2, static_cast<std::uint64_t>(unix_ms));
  });
}

void Encoder::goodbye(GoodbyeReason reason, std::uint32_t reconnect_after_ms, std::string_view text,
                      std::string& out) const {
  frame(out, 9, [&](FieldWriter& to) {
    to.number(1, number_of(reason));
    to.number(2, reconnect_after_ms);
    to.text(3, text);
  });
}

void Encoder::command(const CommandFrame& command, std::string& out) const {
  frame(out, 5, [&](FieldWriter& to) {
    to.text(1, command.id);
    to.text(2, command.name);
    to.text(3, {reinterpret_cast<const char*>(command.payload.data()), command.payload.size()});
    to.number(4, command.deadline_ms);
  });
}

void Encoder::command_cancel(const CommandCancelFrame& cancel, std::string& out) const {
  frame(out, 6, [&](FieldWriter& to) { to.text(1, cancel.id); });
}

void Encoder::desired(const DesiredFrame& desired, std::string& out) const {
  frame(out, 7, [&](FieldWriter& to) {
    to.number(1, desired.version);
    to.text(2, desired.json);
    to.number(3, desired.full ? 1 : 0);
  });
}

void Encoder::presence(const PresenceRecord& record, std::string& out) const {
  out.clear();
  FieldWriter to(out);
  to.number(1, record.online ? 1 : 0);
  to.number(2, record.epoch.value);
  to.text(3, record.node);
  to.text(4, record.boot_id);
  to.number(5, static_cast<std::uint64_t>(record.unix_ms));
  to.text(6, record.reason);
}

}  // namespace fieldgate::wire
