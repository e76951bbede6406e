// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/protobuf_wire.h"

#include "adapters/wire/decoder.h"
#include "adapters/wire/encoder.h"
#include "adapters/wire/record_reader.h"

namespace fieldgate::wire {

ProtobufWire::ProtobufWire(const LimitSettings& limits)
    : limits_(limits), encoder_(std::make_unique<Encoder>(limits)), reader_(std::make_unique<ProtobufRecordReader>()) {}

std::unique_ptr<WireDecoder> ProtobufWire::make_decoder() const { return std::make_unique<Decoder>(limits_); }

}  // namespace fieldgate::wire
