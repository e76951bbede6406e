// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/wire/message_reader.h"
#include "adapters/wire/metrics.h"
#include "gateway/core/settings.h"
#include "gateway/ports/wire.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace fieldgate::wire {

// Reads DeviceFrames where they lie. Only a Hello and a name are copied out; a
// telemetry frame costs no allocation once the decoder has seen one of its size.
class Decoder final : public WireDecoder {
 public:
  explicit Decoder(const LimitSettings& limits) : limits_(limits), metrics_(limits_) {}
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  Result<std::variant<UpFrame, DecodeReject>> decode(std::span<const std::byte> message, std::int64_t now_unix_ms,
                                                     MetricSink& sink) override;

 private:
  // The outermost message: a sequence number and one of the kinds, unopened.
  struct Envelope {
    std::uint64_t seq = 0;
    FrameKind kind = FrameKind::unsupported;
    std::string_view body;
    const char* fault = nullptr;  // what is wrong with the kind
  };

  const char* open(std::string_view message, Envelope& envelope);
  bool read_body(const Envelope& envelope, std::int64_t now_unix_ms, UpFrame& frame, Fault& fault);
  bool read_hello(std::string_view body, Fault& fault);
  bool read_label(std::string_view body, Fault& fault);
  bool sort_labels(Fault& fault);
  bool read_event(std::string_view body, UpFrame& frame, Fault& fault);
  bool read_state(std::string_view body, Fault& fault);
  bool read_command_ack(std::string_view body, UpFrame& frame, Fault& fault);
  bool read_command_result(std::string_view body, UpFrame& frame, Fault& fault);
  bool read_desired_ack(std::string_view body, Fault& fault);
  bool read_opaque(std::string_view body, UpFrame& frame, Fault& fault);
  bool read_time_request(std::string_view body, UpFrame& frame, Fault& fault);
  bool read_bye(std::string_view body, Fault& fault);
  bool check_text(std::string_view text, std::string_view field, Fault& fault) const;

  const LimitSettings limits_;
  Metrics metrics_;
  HelloFrame hello_;
  std::string name_;
};

}  // namespace fieldgate::wire
