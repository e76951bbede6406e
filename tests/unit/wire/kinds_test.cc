// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/wire/wire_fixture.h"

#include <gtest/gtest.h>

#include <string>

namespace fieldgate::wire {
namespace {

const std::string k_long(1'025, 'x');

using Events = WireTest;

TEST_F(Events, AreTakenWithNameTextAndAttributes) {
  ASSERT_TRUE(taken(R"(seq: 3 event { name: 'door.open' unix_ms: 1600000000000 severity: SEVERITY_CRITICAL text: 'hi'
                       attributes { name: 'a' int_value: 1 } attributes { name: 'b' bool_value: false } })"));
  EXPECT_EQ(frame->name, "door.open");
  EXPECT_TRUE(sink.copies.empty());  // not last values
}

TEST_F(Events, BecomeATopicLevelSoTheirNameIsStrict) {
  for (const char* name : {"", "a/b", "+", "#", "$x", ".x"}) {
    EXPECT_EQ(reject_of("seq: 3 event { name: '" + std::string(name) + "' }"),
              "event.name is not 1 to 128 of A-Z a-z 0-9 . _ : -")
        << name;
  }
}

TEST_F(Events, AreRefusedFieldByField) {
  EXPECT_EQ(reject_of("seq: 3 event { name: 'e' unix_ms: -1 }"), "event.unix_ms is not between 1970 and 2200");
  EXPECT_EQ(reject_of("seq: 3 event { name: 'e' severity: 6 }"), "event.severity is unknown");
  EXPECT_EQ(reject_of("seq: 3 event { name: 'e' text: '" + k_long + "' }", RejectCode::too_large),
            "event.text is over 1024 bytes");
  EXPECT_EQ(reject_of("seq: 3 event { name: 'e' attributes { name: 'a' bool_value: true } attributes { name: 'b' } }"),
            "event.attributes[1]: no value");
  decode(std::string("\x08\x03", 2) + field(4, field(1, "e") + field(4, "\xed\xa0\x80")));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "event.text is not valid UTF-8");
}

TEST_F(Events, HaveNoMoreAttributesThanAFrameHasMetrics) {
  std::string attributes;
  for (int i = 0; i < 513; ++i) attributes += " attributes { name: 'a' bool_value: true }";
  EXPECT_EQ(reject_of("seq: 3 event { name: 'e' " + attributes + " }", RejectCode::too_large),
            "event.attributes[512]: more than 512 metrics in the frame");
}

using States = WireTest;

TEST_F(States, AreJsonObjects) {
  EXPECT_TRUE(taken(R"(seq: 3 state { reported_json: '{"a": [1, {"b": null}]}' full: true })"));
  EXPECT_EQ(frame->kind, FrameKind::state);
  EXPECT_EQ(reject_of("seq: 3 state {}"), "state.reported_json: not a JSON object at byte 0");
  EXPECT_EQ(reject_of("seq: 3 state { reported_json: '[1]' }"), "state.reported_json: not a JSON object at byte 0");
  EXPECT_EQ(reject_of(R"(seq: 3 state { reported_json: '{"a" 1}' })"), "state.reported_json: expected : at byte 5");
  decode(std::string("\x08\x03", 2) + field(5, field(1, "{\"a\":\"\xff\"}")));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "state.reported_json is not valid UTF-8");
}

using Commands = WireTest;

TEST_F(Commands, AreNamedByTheirIdInBothAnswers) {
  ASSERT_TRUE(taken("seq: 3 command_ack { id: 'c-1' }"));
  EXPECT_EQ(frame->name, "c-1");
  ASSERT_TRUE(taken("seq: 3 command_result { id: 'c-1' outcome: OUTCOME_SUCCEEDED text: 'ok' payload: '\\377' }"));
  EXPECT_EQ(frame->name, "c-1");
}

TEST_F(Commands, NeedAnIdOfOneToSixtyFourBytes) {
  const std::string outcome = " outcome: OUTCOME_FAILED";
  EXPECT_TRUE(taken("seq: 3 command_ack { id: '" + std::string(64, 'i') + "' }"));
  for (const std::string& id : {std::string(), std::string(65, 'i'), std::string("a\\n")}) {
    EXPECT_EQ(reject_of("seq: 3 command_ack { id: '" + id + "' }"),
              "command_ack.id is not 1 to 64 bytes of UTF-8 without control characters");
    EXPECT_EQ(reject_of("seq: 3 command_result { id: '" + id + "'" + outcome + " }"),
              "command_result.id is not 1 to 64 bytes of UTF-8 without control characters");
  }
}

TEST_F(Commands, EndInAKnownOutcome) {
  EXPECT_EQ(reject_of("seq: 3 command_result { id: 'c' }"), "command_result.outcome is missing");
  EXPECT_EQ(reject_of("seq: 3 command_result { id: 'c' outcome: 5 }"), "command_result.outcome is unknown");
  EXPECT_EQ(reject_of("seq: 3 command_result { id: 'c' outcome: 1 text: '" + k_long + "' }", RejectCode::too_large),
            "command_result.text is over 1024 bytes");
}

using DesiredAcks = WireTest;

TEST_F(DesiredAcks, NameAVersion) {
  EXPECT_TRUE(taken("seq: 3 desired_ack { version: 18446744073709551615 error: 'no' }"));
  EXPECT_EQ(reject_of("seq: 3 desired_ack { error: 'no' }"), "desired_ack.version is missing");
  EXPECT_EQ(reject_of("seq: 3 desired_ack { version: 1 error: '" + k_long + "' }", RejectCode::too_large),
            "desired_ack.error is over 1024 bytes");
}

using Opaques = WireTest;

TEST_F(Opaques, AreNamedByTheirSchemaAndPassUnopened) {
  ASSERT_TRUE(taken("seq: 3 opaque { schema_id: 'acme.v1.Frame' data: '\\000\\377' }"));
  EXPECT_EQ(frame->name, "acme.v1.Frame");
  EXPECT_TRUE(taken("seq: 3 opaque { schema_id: 's' data: '" + std::string(60'000, 'x') + "' }"));
  EXPECT_EQ(reject_of("seq: 3 opaque { data: 'x' }"), "opaque.schema_id is not 1 to 128 of A-Z a-z 0-9 . _ : -");
}

using Others = WireTest;

TEST_F(Others, AreReadToo) {
  ASSERT_TRUE(taken("time_request { token: 99 }"));
  EXPECT_EQ(frame->token, 99U);
  ASSERT_TRUE(taken("bye { reason: REASON_SLEEP back_in_seconds: 4294967295 }"));
  EXPECT_EQ(frame->kind, FrameKind::bye);
  EXPECT_EQ(error_of("bye { reason: 4 }"), "bye.reason is unknown");
}

// Each kind of message, with one of its fields in another wire type.
TEST_F(Others, NeedTheirFieldsInTheirType) {
  struct Case {
    unsigned kind;
    std::string body;
    std::string text;
  };
  const std::string one("\x08\x01", 2);
  for (const Case& each : {Case{4, one, "event: field 1 has the wrong type"},
                           {5, one, "state: field 1 has the wrong type"},
                           {6, one, "command_ack: field 1 has the wrong type"},
                           {7, one, "command_result: field 1 has the wrong type"},
                           {8, field(1, "x"), "desired_ack: field 1 has the wrong type"},
                           {9, one, "opaque: field 1 has the wrong type"}}) {
    decode(std::string("\x08\x03", 2) + field(each.kind, each.body));
    ASSERT_TRUE(reject) << each.text;
    EXPECT_EQ(reject->text, each.text);
  }
  decode(field(2, one));
  EXPECT_EQ(error, "hello: field 1 has the wrong type");
  decode(field(10, field(1, "x")));
  EXPECT_EQ(error, "time_request: field 1 has the wrong type");
  decode(field(11, field(1, "x")));
  EXPECT_EQ(error, "bye: field 1 has the wrong type");
}

using Hellos = WireTest;

std::string hello(const std::string& rest) { return "hello { device_id: 'dev-1' stream_id: 5 " + rest + " }"; }

TEST_F(Hellos, AreReadWhole) {
  ASSERT_TRUE(taken(hello(R"(oldest_seq: 3 last_seq: 9 ack_stage: ACK_STAGE_FORWARDED heartbeat_seconds: 60
      receive_max_bytes: 512 labels { key: 'site' value: 'north' } labels { key: 'area' value: '' }
      firmware_version: '1.2.3' capabilities: 'command' capabilities: 'time-travel')")));
  ASSERT_NE(frame->hello, nullptr);
  const HelloFrame& read = *frame->hello;
  EXPECT_EQ(read.device_id, "dev-1");
  EXPECT_EQ(read.stream.value, 5U);
  EXPECT_EQ(read.oldest.value, 3U);
  EXPECT_EQ(read.last.value, 9U);
  EXPECT_EQ(read.stage, AckStage::forwarded);
  EXPECT_EQ(read.heartbeat_seconds, 60U);
  EXPECT_EQ(read.receive_max_bytes, 512U);
  EXPECT_EQ(read.firmware_version, "1.2.3");
  const std::vector<std::pair<std::string, std::string>> sorted = {{"area", ""}, {"site", "north"}};
  EXPECT_EQ(read.labels, sorted);
}

TEST_F(Hellos, SayWhatTheDeviceTakes) {
  const auto takes = [&](const std::string& capabilities) {
    EXPECT_TRUE(taken(hello(capabilities)));
    const HelloFrame& read = *frame->hello;
    return std::string(read.takes_commands ? "c" : "-") + (read.takes_command_cancels ? "x" : "-") +
           (read.takes_desired ? "d" : "-");
  };
  EXPECT_EQ(takes(""), "---");
  EXPECT_EQ(takes("capabilities: 'command'"), "c--");
  EXPECT_EQ(takes("capabilities: 'command_cancel'"), "-x-");
  EXPECT_EQ(takes("capabilities: 'desired' capabilities: 'command'"), "c-d");
  EXPECT_EQ(takes("capabilities: 'Command' capabilities: 'commands' capabilities: 'time'"), "---");
}

TEST_F(Hellos, DoNotShineThroughToTheNext) {
  ASSERT_TRUE(
      taken(hello("oldest_seq: 3 last_seq: 9 ack_stage: ACK_STAGE_FORWARDED heartbeat_seconds: 60 "
                  "receive_max_bytes: 512 labels { key: 'site' value: 'north' } firmware_version: '1' "
                  "capabilities: 'command' capabilities: 'command_cancel' capabilities: 'desired'")));
  ASSERT_TRUE(taken(hello("")));
  const HelloFrame& read = *frame->hello;
  EXPECT_EQ(read.last.value + read.oldest.value + read.heartbeat_seconds, 0U);
  EXPECT_EQ(read.stage, AckStage::unspecified);
  EXPECT_EQ(read.receive_max_bytes, 4'096U);
  EXPECT_TRUE(read.labels.empty());
  EXPECT_TRUE(read.firmware_version.empty());
  EXPECT_FALSE(read.takes_commands || read.takes_command_cancels || read.takes_desired);
}

TEST_F(Hellos, AreRefusedFieldByField) {
  EXPECT_EQ(error_of("hello { stream_id: 5 }"), "hello.device_id is not 1 to 128 of A-Z a-z 0-9 . _ : -");
  EXPECT_EQ(error_of("hello { stream_id: 5 device_id: '" + std::string(129, 'd') + "' }"),
            "hello.device_id is not 1 to 128 of A-Z a-z 0-9 . _ : -");
  EXPECT_EQ(error_of("hello { device_id: 'd' }"), "hello.stream_id is missing");
  EXPECT_EQ(error_of(hello("oldest_seq: 3 last_seq: 2")), "hello.oldest_seq is above last_seq");
  EXPECT_EQ(error_of(hello("last_seq: 9223372036854775808")), "hello.last_seq is over 2^63 - 1");
  EXPECT_EQ(error_of(hello("ack_stage: 4")), "hello.ack_stage is unknown");
  EXPECT_EQ(error_of(hello("receive_max_bytes: 255")), "hello.receive_max_bytes is below 256");
  EXPECT_TRUE(taken(hello("receive_max_bytes: 256")));
  EXPECT_EQ(error_of(hello("firmware_version: '" + std::string(65, 'f') + "'")),
            "hello.firmware_version is not at most 64 bytes of UTF-8 without control characters");
  EXPECT_EQ(error_of(hello("firmware_version: 'a\\nb'")),
            "hello.firmware_version is not at most 64 bytes of UTF-8 without control characters");
  EXPECT_EQ(error_of(hello("capabilities: 'a\\n'")),
            "hello.capabilities: one is not at most 64 bytes of UTF-8 without control characters");
}

TEST_F(Hellos, DoNotTakeANumberThatParsersWouldCutTo32Bits) {
  const std::string base = field(1, "dev-1") + std::string("\x10\x05", 2);
  decode(field(2, base + std::string("\x30\x80\x80\x80\x80\x10", 6)));
  EXPECT_EQ(error, "hello.heartbeat_seconds is over 2^32 - 1");
  decode(field(2, base + std::string("\x38\x80\x80\x80\x80\x10", 6)));
  EXPECT_EQ(error, "hello.receive_max_bytes is over 2^32 - 1");
}

TEST_F(Hellos, LimitLabels) {
  std::string labels;
  for (int i = 0; i < 32; ++i) labels += " labels { key: 'k" + std::to_string(i) + "' value: 'v' }";
  EXPECT_TRUE(taken(hello(labels)));
  EXPECT_EQ(error_of(hello(labels + " labels { key: 'more' value: 'v' }")), "hello.labels are over 32");
  const std::string bad_key = "hello.labels: a key is not 1 to 64 bytes of UTF-8 without control characters";
  EXPECT_EQ(error_of(hello("labels { key: '' value: 'v' }")), bad_key);
  EXPECT_EQ(error_of(hello("labels { key: '" + std::string(65, 'k') + "' value: 'v' }")), bad_key);
  EXPECT_EQ(error_of(hello("labels { key: 'a\\t' value: 'v' }")), bad_key);
  const std::string bad_value = "hello.labels: a value is not at most 256 bytes of UTF-8 without control characters";
  EXPECT_EQ(error_of(hello("labels { key: 'k' value: '" + std::string(257, 'v') + "' }")), bad_value);
  EXPECT_EQ(error_of(hello("labels { key: 'k' value: 'a\\001' }")), bad_value);
}

TEST_F(Hellos, LimitCapabilities) {
  std::string capabilities;
  for (int i = 0; i < 32; ++i) capabilities += " capabilities: 'c'";
  EXPECT_TRUE(taken(hello(capabilities)));
  EXPECT_EQ(error_of(hello(capabilities + " capabilities: 'c'")), "hello.capabilities are over 32");
}

TEST_F(Hellos, DoNotTakeALabelTwice) {
  const std::string label = field(8, field(1, "site") + field(2, "north"));
  decode(field(2, field(1, "dev-1") + std::string("\x10\x05", 2) + label + label));
  EXPECT_EQ(error, "hello.labels: a key is there twice");
}

}  // namespace
}  // namespace fieldgate::wire
