// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/wire.h"

#include <memory>

namespace fieldgate::wire {

// The wire contract in protobuf (proto/fieldgate/v1).
// Read where it lies by a reader of our own: the generated classes build a tree
// first and are checked afterwards, and merge what is there twice
// (docs/adr/0005-own-reader-of-device-frames.md).
// What it takes, any protobuf library takes, with the same meaning; the tests and
// the fuzzer hold it against the generated classes.
// Bounds: a decoder keeps 48 bytes for each of metrics_per_frame metrics and 32 for
//         each sample, and one Hello.
class ProtobufWire final : public Wire {
 public:
  // `limits` is what decoders enforce and Welcome announces.
  explicit ProtobufWire(const LimitSettings& limits);

  std::unique_ptr<WireDecoder> make_decoder() const override;
  const WireEncoder& encoder() const override { return *encoder_; }
  const RecordReader& reader() const override { return *reader_; }

 private:
  LimitSettings limits_;
  std::unique_ptr<const WireEncoder> encoder_;
  std::unique_ptr<const RecordReader> reader_;
};

}  // namespace fieldgate::wire
