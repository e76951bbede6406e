// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/record_reader.h"

#include "fieldgate/v1/device.pb.h"
#include "fieldgate/v1/northbound.pb.h"

namespace fieldgate::wire {
namespace {

static_assert(static_cast<int>(CommandResultReply::Outcome::cancelled) == v1::CommandResult::OUTCOME_CANCELLED);

Error malformed(const char* what) { return make_error(Errc::malformed, what); }

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

Result<DeviceReply> result_of(const v1::CommandResult& from) {
  if (from.outcome() < v1::CommandResult::OUTCOME_SUCCEEDED || from.outcome() > v1::CommandResult::OUTCOME_CANCELLED) {
    return malformed("a command result without a known outcome");
  }
  return DeviceReply(CommandResultReply{from.id(), static_cast<CommandResultReply::Outcome>(from.outcome()),
                                        from.text(), bytes_of(from.payload())});
}

}  // namespace

Result<DeviceReply> ProtobufRecordReader::reply(std::span<const std::byte> payload) const {
  v1::DeviceFrame frame;
  if (!frame.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return malformed("not a DeviceFrame");
  switch (frame.kind_case()) {
    case v1::DeviceFrame::kCommandAck: return DeviceReply(CommandAckReply{frame.command_ack().id()});
    case v1::DeviceFrame::kCommandResult: return result_of(frame.command_result());
    case v1::DeviceFrame::kDesiredAck:
      return DeviceReply(DesiredAckReply{frame.desired_ack().version(), frame.desired_ack().error()});
    case v1::DeviceFrame::kState:
      return DeviceReply(ReportedReply{frame.state().reported_json(), frame.state().full()});
    default: return malformed("a frame that is neither a reply nor a state");
  }
}

Result<PresenceRead> ProtobufRecordReader::presence(std::span<const std::byte> payload) const {
  v1::PresenceEvent event;
  if (!event.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return malformed("not a PresenceEvent");
  return PresenceRead{event.online(),  Epoch{event.epoch()}, event.node(),
                      event.boot_id(), event.unix_ms(),      event.reason()};
}

}  // namespace fieldgate::wire
