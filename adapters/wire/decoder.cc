// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/decoder.h"

#include "adapters/wire/json_check.h"
#include "adapters/wire/text.h"

#include <string>

namespace fieldgate::wire {
namespace {

// Field numbers: proto/fieldgate/v1/device.proto.
constexpr std::uint32_t k_seq = 1;
constexpr Shape k_event{bits(1, 5), bits(5, 5)};
constexpr Shape k_state{bits(1, 2), 0};
constexpr Shape k_command_ack{bits(1, 1), 0};
constexpr Shape k_command_result{bits(1, 4), 0};
constexpr Shape k_desired_ack{bits(1, 2), 0};
constexpr Shape k_opaque{bits(1, 2), 0};
constexpr Shape k_time_request{bits(1, 1), 0};
constexpr Shape k_bye{bits(1, 2), 0};
constexpr std::uint64_t k_severity_last = 5;
constexpr std::uint64_t k_outcome_last = 4;
constexpr std::uint64_t k_bye_reason_last = 3;
constexpr std::uint64_t k_u32_max = ~std::uint32_t{0};
constexpr std::size_t k_command_id_bytes_max = 64;

FrameKind kind_of(std::uint32_t number) noexcept {
  switch (number) {
    case 2: return FrameKind::hello;
    case 3: return FrameKind::telemetry;
    case 4: return FrameKind::event;
    case 5: return FrameKind::state;
    case 6: return FrameKind::command_ack;
    case 7: return FrameKind::command_result;
    case 8: return FrameKind::desired_ack;
    case 9: return FrameKind::opaque;
    case 10: return FrameKind::time_request;
    case 11: return FrameKind::bye;
    default: return FrameKind::unsupported;
  }
}

bool check_command_id(std::string_view id, std::string_view kind, Fault& fault) {
  if (!id.empty() && id.size() <= k_command_id_bytes_max && is_plain_text(id)) return true;
  refuse(fault, ".id is not 1 to 64 bytes of UTF-8 without control characters");
  return refused_in(fault, kind);
}

bool finish(const MessageReader& in, std::string_view kind, Fault& fault) {
  return in.finish(fault) || refused_in(fault, kind);
}

bool wrong_type(const MessageReader& in, std::string_view kind, Fault& fault) {
  in.wrong_type(fault);
  return refused_in(fault, kind);
}

}  // namespace

Result<std::variant<UpFrame, DecodeReject>> Decoder::decode(std::span<const std::byte> message,
                                                            std::int64_t now_unix_ms, MetricSink& sink) {
  if (message.size() > limits_.frame_bytes_max) return make_error(Errc::malformed, "frame is over frame_bytes_max");
  metrics_.clear();
  Envelope envelope;
  if (const char* fault = open({reinterpret_cast<const char*>(message.data()), message.size()}, envelope)) {
    return make_error(Errc::malformed, fault);
  }
  UpFrame frame;
  frame.kind = envelope.kind;
  frame.seq = {envelope.seq};
  Fault fault;
  if (!read_body(envelope, now_unix_ms, frame, fault)) {
    if (envelope.seq == 0) return make_error(Errc::malformed, std::move(fault.text));
    return std::variant<UpFrame, DecodeReject>(DecodeReject{frame.seq, fault.code, std::move(fault.text)});
  }
  if (frame.kind == FrameKind::telemetry) {
    frame.samples = metrics_.samples();
    frame.metrics = metrics_.size();
    frame.historical = metrics_.historical();
    if (!frame.historical) metrics_.emit(sink);
  } else {
    name_.assign(frame.name);  // outlives the message
    frame.name = name_;
  }
  return std::variant<UpFrame, DecodeReject>(frame);
}

// Goes to the very end before anything is believed: two messages put together
// carry a second sequence number or kind there. Returns what makes the sequence
// number unusable; what is wrong with the kind alone is left in the envelope.
const char* Decoder::open(std::string_view message, Envelope& envelope) {
  FieldReader field(message);
  bool has_seq = false;
  bool has_kind = false;
  while (field.next()) {
    if (field.number() == k_seq) {
      if (field.tag() != varint(k_seq)) return "seq has the wrong type";
      if (has_seq) return "two sequence numbers in one frame";
      has_seq = true;
      envelope.seq = field.value();
      continue;
    }
    const FrameKind kind = kind_of(field.number());
    if (kind == FrameKind::unsupported) {
      ++metrics_.unknown_fields();
      continue;
    }
    if (field.tag() != delimited(field.number())) envelope.fault = "the frame's kind has the wrong type";
    if (has_kind) envelope.fault = "more than one kind in one frame";
    has_kind = true;
    envelope.kind = kind;
    envelope.body = field.bytes();
  }
  if (field.malformed()) return "not a protobuf message";
  if (envelope.seq > k_seq_max) return "seq is over 2^63 - 1";
  if (is_data(envelope.kind) && envelope.seq == 0) return "a data frame without a sequence number";
  if (!is_data(envelope.kind) && has_seq && envelope.seq != 0) return "a sequence number on a frame that has none";
  return nullptr;
}

bool Decoder::read_body(const Envelope& envelope, std::int64_t now_unix_ms, UpFrame& frame, Fault& fault) {
  if (envelope.fault != nullptr) return refuse(fault, envelope.fault);
  const std::string_view body = envelope.body;
  switch (envelope.kind) {
    case FrameKind::unsupported: return refuse(fault, RejectCode::unsupported, "unknown kind of frame");
    case FrameKind::hello: frame.hello = &hello_; return read_hello(body, fault);
    case FrameKind::telemetry: return metrics_.read_telemetry(body, now_unix_ms, fault);
    case FrameKind::event: return read_event(body, frame, fault);
    case FrameKind::state: return read_state(body, fault);
    case FrameKind::command_ack: return read_command_ack(body, frame, fault);
    case FrameKind::command_result: return read_command_result(body, frame, fault);
    case FrameKind::desired_ack: return read_desired_ack(body, fault);
    case FrameKind::opaque: return read_opaque(body, frame, fault);
    case FrameKind::time_request: return read_time_request(body, frame, fault);
    case FrameKind::bye: return read_bye(body, fault);
  }
  return refuse(fault, RejectCode::unsupported, "unknown kind of frame");
}

bool Decoder::check_text(std::string_view text, std::string_view field, Fault& fault) const {
  if (!is_utf8(text)) {
    refuse(fault, " is not valid UTF-8");
  } else if (text.size() > limits_.value_bytes_max) {
    refuse(fault, RejectCode::too_large, " is over " + std::to_string(limits_.value_bytes_max) + " bytes");
  } else {
    return true;
  }
  return refused_in(fault, field);
}

bool Decoder::read_event(std::string_view body, UpFrame& frame, Fault& fault) {
  MessageReader in(body, k_event, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1): frame.name = in.bytes(); break;
      case varint(2):
        if (!is_unix_ms(in.value())) return refuse(fault, "event.unix_ms is not between 1970 and 2200");
        break;
      case varint(3):
        if (in.value() > k_severity_last) return refuse(fault, "event.severity is unknown");
        break;
      case delimited(4):
        if (!check_text(in.bytes(), "event.text", fault)) return false;
        break;
      case delimited(5): {
        const std::string where = "event.attributes[" + std::to_string(metrics_.size()) + "]: ";
        if (!metrics_.read_metric(in.bytes(), fault)) return refused_in(fault, where);
        break;
      }
      default: return wrong_type(in, "event: ", fault);
    }
  }
  if (!finish(in, "event: ", fault)) return false;
  return is_valid_name(frame.name) || refuse(fault, "event.name is not 1 to 128 of A-Z a-z 0-9 . _ : -");
}

bool Decoder::read_state(std::string_view body, Fault& fault) {
  std::string_view json;
  MessageReader in(body, k_state, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1): json = in.bytes(); break;
      case varint(2): break;
      default: return wrong_type(in, "state: ", fault);
    }
  }
  if (!finish(in, "state: ", fault)) return false;
  if (!is_utf8(json)) return refuse(fault, "state.reported_json is not valid UTF-8");
  if (const auto problem = json_object_problem(json)) return refuse(fault, "state.reported_json: " + *problem);
  return true;
}

bool Decoder::read_command_ack(std::string_view body, UpFrame& frame, Fault& fault) {
  MessageReader in(body, k_command_ack, metrics_.unknown_fields());
  while (in.next()) {
    if (in.tag() != delimited(1)) return wrong_type(in, "command_ack: ", fault);
    frame.name = in.bytes();
  }
  return finish(in, "command_ack: ", fault) && check_command_id(frame.name, "command_ack", fault);
}

bool Decoder::read_command_result(std::string_view body, UpFrame& frame, Fault& fault) {
  std::uint64_t outcome = 0;
  MessageReader in(body, k_command_result, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1): frame.name = in.bytes(); break;
      case varint(2): outcome = in.value(); break;
      case delimited(3):
        if (!check_text(in.bytes(), "command_result.text", fault)) return false;
        break;
      case delimited(4): break;  // between the device and the caller
      default: return wrong_type(in, "command_result: ", fault);
    }
  }
  if (!finish(in, "command_result: ", fault) || !check_command_id(frame.name, "command_result", fault)) return false;
  if (outcome == 0) return refuse(fault, "command_result.outcome is missing");
  return outcome <= k_outcome_last || refuse(fault, "command_result.outcome is unknown");
}

bool Decoder::read_desired_ack(std::string_view body, Fault& fault) {
  std::uint64_t version = 0;
  MessageReader in(body, k_desired_ack, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case varint(1): version = in.value(); break;
      case delimited(2):
        if (!check_text(in.bytes(), "desired_ack.error", fault)) return false;
        break;
      default: return wrong_type(in, "desired_ack: ", fault);
    }
  }
  if (!finish(in, "desired_ack: ", fault)) return false;
  return version != 0 || refuse(fault, "desired_ack.version is missing");
}

bool Decoder::read_opaque(std::string_view body, UpFrame& frame, Fault& fault) {
  MessageReader in(body, k_opaque, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1): frame.name = in.bytes(); break;
      case delimited(2): break;  // passed on unopened
      default: return wrong_type(in, "opaque: ", fault);
    }
  }
  if (!finish(in, "opaque: ", fault)) return false;
  return is_valid_name(frame.name) || refuse(fault, "opaque.schema_id is not 1 to 128 of A-Z a-z 0-9 . _ : -");
}

bool Decoder::read_time_request(std::string_view body, UpFrame& frame, Fault& fault) {
  MessageReader in(body, k_time_request, metrics_.unknown_fields());
  while (in.next()) {
    if (in.tag() != varint(1)) return wrong_type(in, "time_request: ", fault);
    frame.token = in.value();
  }
  return finish(in, "time_request: ", fault);
}

bool Decoder::read_bye(std::string_view body, Fault& fault) {
  MessageReader in(body, k_bye, metrics_.unknown_fields());
  while (in.next()) {
    switch (in.tag()) {
      case varint(1):
        if (in.value() > k_bye_reason_last) return refuse(fault, "bye.reason is unknown");
        break;
      case varint(2):
        if (in.value() > k_u32_max) return refuse(fault, "bye.back_in_seconds is over 2^32 - 1");
        break;
      default: return wrong_type(in, "bye: ", fault);
    }
  }
  return finish(in, "bye: ", fault);
}

}  // namespace fieldgate::wire
