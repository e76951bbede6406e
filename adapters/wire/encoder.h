// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/wire.h"

#include <string>
#include <string_view>

namespace fieldgate::wire {

// Writes GatewayFrames and PresenceEvents.
class Encoder final : public WireEncoder {
 public:
  // `limits` is what Welcome announces.
  explicit Encoder(const LimitSettings& limits) : limits_(limits) {}

  void welcome(const WelcomeFrame& frame, std::string& out) const override;
  void ack(Seq through, std::string& out) const override;
  void reject(const DecodeReject& reject, std::string& out) const override;
  void throttle(const CreditGrant& credit, ThrottleReason reason, std::string& out) const override;
  void time(std::uint64_t token, std::int64_t unix_ms, std::string& out) const override;
  void goodbye(GoodbyeReason reason, std::uint32_t reconnect_after_ms, std::string_view text,
               std::string& out) const override;
  void presence(const PresenceRecord& record, std::string& out) const override;
  void command(const CommandFrame& frame, std::string& out) const override;
  void command_cancel(const CommandCancelFrame& frame, std::string& out) const override;
  void desired(const DesiredFrame& frame, std::string& out) const override;

 private:
  const LimitSettings limits_;
};

}  // namespace fieldgate::wire
