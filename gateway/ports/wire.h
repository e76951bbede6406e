// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ack_stage.h"
#include "gateway/core/error.h"
#include "gateway/core/ids.h"
#include "gateway/core/metric_value.h"
#include "gateway/core/settings.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// The wire contract (proto/fieldgate/v1) as the session sees it, free of protobuf.
namespace fieldgate {

std::string_view to_string(AckStage stage) noexcept;

enum class FrameKind : std::uint8_t {
  unsupported,  // none set, or one that is not known here
  hello,
  telemetry,
  event,
  state,
  command_ack,
  command_result,
  desired_ack,
  opaque,
  time_request,
  bye,
};

// True for the kinds that carry a sequence number.
constexpr bool is_data(FrameKind kind) noexcept {
  return kind != FrameKind::hello && kind != FrameKind::time_request && kind != FrameKind::bye;
}

struct HelloFrame {
  std::string device_id;
  StreamId stream;
  Seq oldest;
  Seq last;
  AckStage stage = AckStage::unspecified;
  std::uint32_t heartbeat_seconds = 0;
  std::uint32_t receive_max_bytes = 0;
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by key
  std::string firmware_version;
  // What Hello.capabilities names.
  bool takes_commands = false;
  bool takes_command_cancels = false;
  bool takes_desired = false;
};

// Takes the metrics of a telemetry frame that has passed every check.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  // `name` and `value` are borrowed for the call. `unix_ms` is resolved: never
  // uptime-relative.
  virtual void metric(std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality) = 0;
};

enum class RejectCode : std::uint8_t { malformed = 1, unsupported, forbidden, too_large };

// What was found in one upward message. Views point into the decoder and hold
// until its next call.
struct UpFrame {
  FrameKind kind = FrameKind::unsupported;
  Seq seq;
  std::string_view name;  // event name, schema id, or the command's id
  const HelloFrame* hello = nullptr;
  std::uint64_t token = 0;    // time_request
  std::uint32_t samples = 0;  // telemetry
  std::uint32_t metrics = 0;  // telemetry
  bool historical = false;    // telemetry
};

// A data frame that cannot be taken, although its sequence number could be read.
struct DecodeReject {
  Seq seq;
  RejectCode code = RejectCode::malformed;
  std::string text;
};

// Checks and reads upward messages; reuses its memory from one to the next.
// Thread: one instance per shard.
class WireDecoder {
 public:
  virtual ~WireDecoder() = default;

  // Neither parses nor copies beyond `limits`. `sink` gets the metrics of a
  // non-historical telemetry frame once all of it has passed.
  // Errors: Errc::malformed: not a DeviceFrame, or one without a usable sequence
  // number: the connection ends. A data frame with a readable sequence number
  // that breaks a rule is returned as DecodeReject.
  virtual Result<std::variant<UpFrame, DecodeReject>> decode(std::span<const std::byte> message,
                                                             std::int64_t now_unix_ms, MetricSink& sink) = 0;
};

struct CreditGrant {
  std::uint32_t frames = 0;
  std::uint64_t bytes = 0;
  friend bool operator==(const CreditGrant&, const CreditGrant&) = default;
};

struct WelcomeFrame {
  Epoch epoch;
  AckStage stage = AckStage::unspecified;
  CreditGrant credit;
  std::uint32_t heartbeat_seconds = 0;
  std::uint32_t ack_every_frames = 0;
  std::uint32_t ack_every_ms = 0;
  Seq acked_through;
  Seq received_through;
  std::int64_t server_unix_ms = 0;
  std::string_view node;
};

enum class ThrottleReason : std::uint8_t { backlog = 1, recovered };

enum class GoodbyeReason : std::uint8_t {
  drain = 1,
  taken_over,
  retry,
  overloaded,
  policy,
  credential_revoked,
  stream_reused,
  kicked,
};

struct CommandFrame {
  std::string id;
  std::string name;
  std::vector<std::byte> payload;
  std::uint64_t deadline_ms = 0;  // from receipt
};

struct CommandCancelFrame {
  std::string id;
};

struct DesiredFrame {
  std::uint64_t version = 0;
  std::string json;  // a merge patch (RFC 7396), or the whole document if `full`
  bool full = false;
};

// What a device says of commands and of its twin, read from a frame that has passed
// the decoder. Ids are at most k_command_id_bytes_max bytes.
struct CommandAckReply {
  std::string id;
};
struct CommandResultReply {
  enum class Outcome : std::uint8_t { succeeded = 1, failed, rejected, cancelled };
  std::string id;
  Outcome outcome = Outcome::succeeded;
  std::string text;
  std::vector<std::byte> payload;
};
struct DesiredAckReply {
  std::uint64_t version = 0;
  std::string error;  // empty: applied
};
struct ReportedReply {
  std::string json;
  bool full = false;
};
using DeviceReply = std::variant<CommandAckReply, CommandResultReply, DesiredAckReply, ReportedReply>;

struct PresenceRecord {
  bool online = false;
  Epoch epoch;
  std::string_view node;
  std::string_view boot_id;
  std::int64_t unix_ms = 0;
  std::string_view reason;
};

// Writes downward messages and presence records. Every member replaces `out`,
// keeping its capacity. Thread: any, no state.
class WireEncoder {
 public:
  virtual ~WireEncoder() = default;
  virtual void welcome(const WelcomeFrame& frame, std::string& out) const = 0;
  virtual void ack(Seq through, std::string& out) const = 0;
  virtual void reject(const DecodeReject& reject, std::string& out) const = 0;
  virtual void throttle(const CreditGrant& credit, ThrottleReason reason, std::string& out) const = 0;
  virtual void time(std::uint64_t token, std::int64_t unix_ms, std::string& out) const = 0;
  virtual void goodbye(GoodbyeReason reason, std::uint32_t reconnect_after_ms, std::string_view text,
                       std::string& out) const = 0;
  virtual void presence(const PresenceRecord& record, std::string& out) const = 0;
  virtual void command(const CommandFrame& frame, std::string& out) const = 0;
  virtual void command_cancel(const CommandCancelFrame& frame, std::string& out) const = 0;
  virtual void desired(const DesiredFrame& frame, std::string& out) const = 0;
};

// A presence record as it is read back from the log.
struct PresenceRead {
  bool online = false;
  Epoch epoch;
  std::string node;
  std::string boot_id;
  std::int64_t unix_ms = 0;
  std::string reason;
};

// Reads what is in records of the log. Thread: any, no state.
class RecordReader {
 public:
  virtual ~RecordReader() = default;
  // Of a record of kind command_reply or state. Errors: Errc::malformed.
  virtual Result<DeviceReply> reply(std::span<const std::byte> payload) const = 0;
  // Of a record of kind presence. Errors: Errc::malformed.
  virtual Result<PresenceRead> presence(std::span<const std::byte> payload) const = 0;
};

// Makes one decoder per shard.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual std::unique_ptr<WireDecoder> make_decoder() const = 0;
  virtual const WireEncoder& encoder() const = 0;
  virtual const RecordReader& reader() const = 0;
};

}  // namespace fieldgate
