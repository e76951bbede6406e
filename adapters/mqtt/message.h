// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/northbound/record_ref.h"
#include "gateway/core/ids.h"
#include "gateway/ports/clock.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::mqtt {

using northbound::RecordRef;

enum class MessageKind : std::uint8_t { records, presence, node, reply, peer };
inline constexpr std::size_t k_message_kinds = 5;
enum class PayloadFormat : std::uint8_t { protobuf, json };

// One QoS 1 PUBLISH, kept until the broker has acknowledged it.
struct Message {
  MessageKind kind = MessageKind::records;
  PayloadFormat format = PayloadFormat::protobuf;
  bool retain = false;
  bool is_batch = false;
  std::string topic;
  std::string payload;
  // User properties; the names are constants.
  std::vector<std::pair<std::string_view, std::string>> properties;
  std::string correlation_data;  // kind reply; empty: none

  // kind records: what is in it, oldest first, and its place among all messages:
  // what has to be sent again goes before whatever has a higher one.
  std::vector<RecordRef> records;
  std::uint64_t order = 0;

  // kind presence: whose.
  std::optional<DeviceId> device;

  // kind peer: until when it is of use, and so Message Expiry (0: none).
  Monotonic until{};
  std::uint32_t expiry_seconds = 0;
};

}  // namespace fieldgate::mqtt
