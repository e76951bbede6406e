// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/wire/protobuf_wire.h"
#include "fieldgate/v1/device.pb.h"
#include "tests/support/wire_oracle.h"

#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace fieldgate::wire {

inline constexpr std::int64_t k_now = 1'700'000'000'000;

// A frame from its text form, as protobuf itself encodes it. By a dynamic message,
// which is the library's own: under TSan a generated class with a map is laid out
// differently from what the library's reflection expects.
inline std::string encoded(const std::string& text) {
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> frame(factory.GetPrototype(v1::DeviceFrame::descriptor())->New());
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, frame.get())) << text;
  return frame->SerializeAsString();
}

inline std::span<const std::byte> bytes_of(std::string_view message) { return std::as_bytes(std::span(message)); }

// A length-delimited field with raw content, for what the generated classes would
// not write.
inline std::string field(unsigned number, std::string_view content) {
  std::string out;
  const auto varint = [&](std::size_t n) {
    for (; n >= 0x80; n >>= 7) out.push_back(static_cast<char>(n | 0x80));
    out.push_back(static_cast<char>(n));
  };
  varint(number << 3 | 2);
  varint(content.size());
  return out.append(content);
}

class WireTest : public testing::Test {
 protected:
  // Decodes and leaves what came of it in exactly one of frame, reject and error.
  void decode(std::string_view message) {
    frame.reset();
    reject.reset();
    error.clear();
    sink.copies.clear();
    EXPECT_EQ(verdict_problem(*wire.make_decoder(), bytes_of(message), k_now), "");
    auto answer = decoder->decode(bytes_of(message), k_now, sink);
    if (!answer) {
      error = answer.error().detail;
    } else if (const auto* up = std::get_if<UpFrame>(&*answer)) {
      frame = *up;
    } else {
      reject = std::get<DecodeReject>(*answer);
    }
  }
  void decode_text(const std::string& text) { decode(encoded(text)); }

  // The text of the Reject that `text`'s frame earns.
  std::string reject_of(const std::string& text, RejectCode code = RejectCode::malformed) {
    decode_text(text);
    if (!reject) return frame ? "taken" : "error: " + error;
    EXPECT_EQ(reject->code, code) << reject->text;
    return reject->text;
  }
  std::string error_of(const std::string& text) {
    decode_text(text);
    return error.empty() ? "no error" : error;
  }
  bool taken(const std::string& text) {
    decode_text(text);
    EXPECT_TRUE(frame) << (reject ? reject->text : error);
    return frame.has_value();
  }

  LimitSettings limits;
  ProtobufWire wire{limits};
  std::unique_ptr<WireDecoder> decoder = wire.make_decoder();
  MetricCopies sink;
  std::optional<UpFrame> frame;
  std::optional<DecodeReject> reject;
  std::string error;
};

}  // namespace fieldgate::wire
