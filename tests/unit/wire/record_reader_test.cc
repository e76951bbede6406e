// SPDX-License-Identifier: Apache-2.0
//
// What is read back from records of the log: what devices say of commands and twins,
// and presence.
#include "adapters/wire/record_reader.h"

#include "fieldgate/v1/northbound.pb.h"
#include "tests/unit/wire/wire_fixture.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>

namespace fieldgate::wire {
namespace {

class RecordReaderTest : public testing::Test {
 protected:
  template <class T>
  T read(const std::string& text) {
    const std::string frame = encoded(text);
    auto reply = wire.reader().reply(bytes_of(frame));
    EXPECT_TRUE(reply) << reply.error().detail;
    EXPECT_TRUE(reply && std::holds_alternative<T>(*reply)) << text;
    return reply && std::holds_alternative<T>(*reply) ? std::get<T>(std::move(*reply)) : T{};
  }

  ProtobufWire wire{LimitSettings()};
};

TEST_F(RecordReaderTest, ReadsACommandAck) {
  EXPECT_EQ(read<CommandAckReply>("seq: 3 command_ack { id: 'c-1' }").id, "c-1");
}

TEST_F(RecordReaderTest, ReadsACommandResultOfEachOutcome) {
  using Outcome = CommandResultReply::Outcome;
  const std::pair<const char*, Outcome> outcomes[] = {{"SUCCEEDED", Outcome::succeeded},
                                                      {"FAILED", Outcome::failed},
                                                      {"REJECTED", Outcome::rejected},
                                                      {"CANCELLED", Outcome::cancelled}};
  for (const auto& [name, outcome] : outcomes) {
    const auto result = read<CommandResultReply>("seq: 3 command_result { id: 'c-1' outcome: OUTCOME_" +
                                                 std::string(name) + " text: 'so' payload: '\\000\\377' }");
    EXPECT_EQ(result.id, "c-1");
    EXPECT_EQ(result.outcome, outcome);
    EXPECT_EQ(result.text, "so");
    EXPECT_EQ(result.payload, (std::vector<std::byte>{std::byte{0}, std::byte{0xFF}}));
  }
}

TEST_F(RecordReaderTest, ReadsADesiredAck) {
  const auto ack = read<DesiredAckReply>("seq: 3 desired_ack { version: 18446744073709551615 error: 'no' }");
  EXPECT_EQ(ack.version, ~std::uint64_t{0});
  EXPECT_EQ(ack.error, "no");
  EXPECT_EQ(read<DesiredAckReply>("seq: 3 desired_ack { version: 1 }").error, "");
}

TEST_F(RecordReaderTest, ReadsAReportedState) {
  const auto state = read<ReportedReply>(R"(seq: 3 state { reported_json: '{"a":1}' full: true })");
  EXPECT_EQ(state.json, R"({"a":1})");
  EXPECT_TRUE(state.full);
  EXPECT_FALSE(read<ReportedReply>("seq: 3 state { reported_json: '{}' }").full);
}

TEST_F(RecordReaderTest, RefusesWhatIsNoReply) {
  for (const std::string& frame :
       {encoded("seq: 1 event { name: 'e' }"), encoded("seq: 1 command_result { id: 'c' }"),
        encoded("seq: 1 command_result { id: 'c' outcome: 9 }"), std::string("\xff\xff"), std::string()}) {
    const auto reply = wire.reader().reply(bytes_of(frame));
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::malformed);
  }
}

TEST_F(RecordReaderTest, ReadsPresenceAsItWasWritten) {
  std::string out;
  wire.encoder().presence({true, {k_epoch_max}, "node-1", "boot-1", 1'700'000'000'000, "drain"}, out);
  const auto presence = wire.reader().presence(bytes_of(out));
  ASSERT_TRUE(presence);
  EXPECT_TRUE(presence->online);
  EXPECT_EQ(presence->epoch, Epoch{k_epoch_max});
  EXPECT_EQ(presence->node, "node-1");
  EXPECT_EQ(presence->boot_id, "boot-1");
  EXPECT_EQ(presence->unix_ms, 1'700'000'000'000);
  EXPECT_EQ(presence->reason, "drain");
  wire.encoder().presence({false, {1}, "n", "b", 1, ""}, out);
  EXPECT_FALSE(wire.reader().presence(bytes_of(out))->online);
  EXPECT_FALSE(wire.reader().presence(bytes_of("\xff")));
}

}  // namespace
}  // namespace fieldgate::wire
