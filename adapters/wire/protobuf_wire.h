// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/wire.h"

#include <memory>

namespace fieldgate::wire {

// The wire contract in protobuf (proto/fieldgate/v1/device.proto).
// Bounds: a message of more than frame_bytes_max bytes, one of more than
// metrics_per_frame metrics, and names and values beyond their sizes are refused
// before anything is built from them.
// The first one made takes protobuf's log over for the whole process: what it
// says of a peer's bytes is returned as an error instead.
class ProtobufWire final : public Wire {
 public:
  explicit ProtobufWire(const LimitSettings& limits);

  std::unique_ptr<WireDecoder> make_decoder() const override;
  const WireEncoder& encoder() const override;

 private:
  LimitSettings limits_;
};

}  // namespace fieldgate::wire
