// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/decoder.h"

#include "tests/unit/wire/wire_fixture.h"

#include <gtest/gtest.h>

#include <string>

namespace fieldgate::wire {
namespace {

using testing::Test;

const std::string k_telemetry = "seq: 7 telemetry { samples { metrics { name: 't' double_value: 1.5 } } }";

std::string numbered(std::string_view body) { return std::string("\x08\x07", 2).append(body); }

using Envelope = WireTest;

TEST_F(Envelope, CarriesTheSequenceNumberAndTheKind) {
  ASSERT_TRUE(taken(k_telemetry));
  EXPECT_EQ(frame->kind, FrameKind::telemetry);
  EXPECT_EQ(frame->seq.value, 7U);
}

TEST_F(Envelope, NeedsASequenceNumberOnEveryDataFrame) {
  for (const char* body : {"telemetry { samples { metrics { name: 't' bool_value: true } } }", "event { name: 'e' }",
                           "state { reported_json: '{}' }", "command_ack { id: 'c' }",
                           "command_result { id: 'c' outcome: OUTCOME_FAILED }", "desired_ack { version: 1 }",
                           "opaque { schema_id: 's' }"}) {
    EXPECT_EQ(error_of(body), "a data frame without a sequence number") << body;
    EXPECT_TRUE(taken("seq: 1 " + std::string(body)));
  }
}

TEST_F(Envelope, HasNoSequenceNumberOnTheOthers) {
  for (const char* body : {"hello { device_id: 'd' stream_id: 1 }", "time_request {}", "bye {}"}) {
    EXPECT_EQ(error_of("seq: 1 " + std::string(body)), "a sequence number on a frame that has none") << body;
    EXPECT_TRUE(taken(body));
  }
}

TEST_F(Envelope, TakesSequenceNumbersUpToTheLargestSignedOne) {
  ASSERT_TRUE(taken("seq: 9223372036854775807 opaque { schema_id: 's' }"));
  EXPECT_EQ(frame->seq.value, k_seq_max);
  EXPECT_EQ(error_of("seq: 9223372036854775808 opaque { schema_id: 's' }"), "seq is over 2^63 - 1");
}

TEST_F(Envelope, AnswersAnUnknownKindUnsupported) {
  decode(numbered(field(13, "future")));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->code, RejectCode::unsupported);
  EXPECT_EQ(reject->seq.value, 7U);
  decode(numbered(""));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->code, RejectCode::unsupported);
  decode(field(13, "future"));
  EXPECT_EQ(error, "a data frame without a sequence number");
  decode("");
  EXPECT_NE(error, "");
}

TEST_F(Envelope, OfTwoConcatenatedMessagesIsRefused) {
  decode(encoded(k_telemetry) + encoded(k_telemetry));
  EXPECT_EQ(error, "two sequence numbers in one frame");
  decode(encoded(k_telemetry) + encoded("seq: 8 event { name: 'e' }"));
  EXPECT_EQ(error, "two sequence numbers in one frame");
}

TEST_F(Envelope, WithTwoKindsIsRejectedThoughParsersTakeTheLast) {
  decode(encoded(k_telemetry) + encoded("time_request {}"));
  EXPECT_EQ(error, "a sequence number on a frame that has none");
  decode(encoded(k_telemetry) + field(9, field(1, "schema")));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "more than one kind in one frame");
  EXPECT_EQ(reject->seq.value, 7U);
  decode(encoded(k_telemetry) + field(3, ""));  // would be merged into the first
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "more than one kind in one frame");
}

TEST_F(Envelope, MustBeProtobuf) {
  for (const std::string& message :
       {std::string("\xff"), std::string("\x08"), std::string("\x00\x00", 2), std::string("\x0b\x0c"),
        std::string("\x1a\x05hi"), std::string("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"),
        std::string("hello, gateway")}) {
    decode(message);
    EXPECT_EQ(error, "not a protobuf message") << testing::PrintToString(message);
  }
}

TEST_F(Envelope, NeedsItsFieldsInTheirType) {
  decode("\x0a\x01x" + field(9, field(1, "schema")));
  EXPECT_EQ(error, "seq has the wrong type");
  decode(numbered(std::string("\x18\x01", 2)));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "the frame's kind has the wrong type");
}

TEST_F(Envelope, OverTheSizeLimitIsNotEvenRead) {
  limits.frame_bytes_max = 100;
  const auto small = ProtobufWire(limits).make_decoder();
  const std::string message = encoded("seq: 1 opaque { schema_id: 's' data: '" + std::string(100, 'x') + "' }");
  const auto answer = small->decode(bytes_of(message), k_now, sink);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::malformed);
}

TEST_F(Envelope, MayCarryAFewUnknownFieldsAnywhereButNotABombOfThem) {
  const std::string unknown("\x78\x01", 2);  // field 15
  std::string some;
  for (std::uint32_t i = 0; i < k_unknown_fields_max; ++i) some += unknown;
  decode(numbered(field(9, field(1, "schema") + some)));
  EXPECT_TRUE(frame);
  decode(numbered(field(9, field(1, "schema") + some + unknown)));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->code, RejectCode::too_large);
  decode(numbered(field(13, "") + field(9, field(1, "schema") + some)));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "opaque: too many unknown fields");
}

using Bombs = WireTest;

// 64 KiB of empty sub-messages make 32,768 objects in a parser. Here the first one
// ends it, and nothing was built: the walk is over before a second is looked at.
TEST_F(Bombs, OfEmptySubMessagesEndAtTheFirst) {
  std::string metrics;
  std::string samples;
  while (metrics.size() < 65'000) metrics += field(3, "");
  while (samples.size() < 65'000) samples += field(1, "");
  decode(numbered(field(3, field(1, metrics))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "telemetry.samples[0].metrics[0]: name is missing");
  decode(numbered(field(3, samples)));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "telemetry.samples[0]: no metrics");
}

TEST_F(Bombs, OfValidMetricsEndAtTheLimit) {
  const std::string metric = field(3, field(1, "t") + std::string("\x20\x01", 2));
  std::string metrics;
  for (std::uint32_t i = 0; i < limits.metrics_per_frame; ++i) metrics += metric;
  decode(numbered(field(3, field(1, metrics))));
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->metrics, 512U);
  EXPECT_EQ(sink.copies.size(), 512U);
  decode(numbered(field(3, field(1, metrics) + field(1, metric))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->code, RejectCode::too_large);
  EXPECT_EQ(reject->text, "telemetry.samples[1].metrics[0]: more than 512 metrics in the frame");
  EXPECT_TRUE(sink.copies.empty());
}

TEST_F(Bombs, OfNestingAreNotFollowed) {
  std::string nested;
  while (nested.size() < 60'000) nested = field(15, nested);
  decode(numbered(field(9, field(1, "schema") + nested)));
  EXPECT_TRUE(frame);  // one unknown field, unopened
  std::string groups;
  while (groups.size() < 60'000) groups += "\x7b";  // start of group 15
  decode(numbered(field(9, field(1, "schema") + groups)));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "opaque: not a protobuf message");
}

}  // namespace
}  // namespace fieldgate::wire
