// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/wire.h"

namespace fieldgate::wire {

// Reads records with the generated protobuf classes: they have passed the decoder,
// and there are few of them.
class ProtobufRecordReader final : public RecordReader {
 public:
  Result<DeviceReply> reply(std::span<const std::byte> payload) const override;
  Result<PresenceRead> presence(std::span<const std::byte> payload) const override;
};

}  // namespace fieldgate::wire
