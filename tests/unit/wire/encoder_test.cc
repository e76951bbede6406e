// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/encoder.h"

#include "adapters/wire/protobuf_wire.h"
#include "fieldgate/v1/device.pb.h"
#include "fieldgate/v1/northbound.pb.h"

#include <gtest/gtest.h>

#include <limits>
#include <span>
#include <string>
#include <vector>

namespace fieldgate::wire {
namespace {

constexpr std::uint64_t k_u64_max = std::numeric_limits<std::uint64_t>::max();

class EncoderTest : public testing::Test {
 protected:
  v1::GatewayFrame frame() const {
    v1::GatewayFrame frame;
    EXPECT_TRUE(frame.ParseFromString(out));
    EXPECT_EQ(frame.SerializeAsString(), out);  // byte for byte as protobuf would
    return frame;
  }

  LimitSettings limits;
  ProtobufWire wire{limits};
  const WireEncoder& encoder = wire.encoder();
  std::string out = "left over from before";
};

TEST_F(EncoderTest, WelcomeSaysAllThereIsToSayAndTheLimits) {
  WelcomeFrame welcome;
  welcome.epoch = {k_epoch_max};
  welcome.stage = AckStage::forwarded;
  welcome.credit = {64, 131'072};
  welcome.heartbeat_seconds = 30;
  welcome.ack_every_frames = 32;
  welcome.ack_every_ms = 50;
  welcome.acked_through = {k_u64_max};
  welcome.received_through = {7};
  welcome.server_unix_ms = 1'700'000'000'000;
  welcome.node = "node-1";
  encoder.welcome(welcome, out);
  const v1::GatewayFrame kept = frame();
  const v1::Welcome& w = kept.welcome();
  EXPECT_EQ(w.epoch(), k_epoch_max);
  EXPECT_EQ(w.ack_stage(), v1::ACK_STAGE_FORWARDED);
  EXPECT_EQ(w.credit().frames(), 64U);
  EXPECT_EQ(w.credit().bytes(), 131'072U);
  EXPECT_EQ(w.heartbeat_seconds(), 30U);
  EXPECT_EQ(w.ack_every_frames(), 32U);
  EXPECT_EQ(w.ack_every_ms(), 50U);
  EXPECT_EQ(w.acked_through(), k_u64_max);
  EXPECT_EQ(w.received_through(), 7U);
  EXPECT_EQ(w.server_unix_ms(), 1'700'000'000'000);
  EXPECT_EQ(w.node(), "node-1");
  EXPECT_EQ(w.limits().frame_bytes_max(), limits.frame_bytes_max);
  EXPECT_EQ(w.limits().frames_per_second(), limits.frames_per_second);
  EXPECT_EQ(w.limits().bytes_per_second(), limits.bytes_per_second);
  EXPECT_EQ(w.limits().metrics_per_frame_max(), limits.metrics_per_frame);
  EXPECT_EQ(w.limits().value_bytes_max(), limits.value_bytes_max);
}

// A device may take as little as 256 bytes.
TEST_F(EncoderTest, WelcomeFitsTheSmallestDevice) {
  WelcomeFrame welcome;
  const std::string node(64, 'n');
  welcome.epoch = {k_epoch_max};
  welcome.stage = AckStage::forwarded;
  welcome.credit = {1'000'000, 1'000'000'000};
  welcome.heartbeat_seconds = welcome.ack_every_frames = welcome.ack_every_ms = 100'000;
  welcome.acked_through = welcome.received_through = {k_u64_max >> 1};
  welcome.server_unix_ms = 7'258'118'400'000;
  welcome.node = node;
  encoder.welcome(welcome, out);
  EXPECT_LE(out.size(), 256U);
}

TEST_F(EncoderTest, AckIsRightAtEveryLengthOfTheNumber) {
  for (unsigned bits = 0; bits < 64; ++bits) {
    for (const std::uint64_t through : {(std::uint64_t{1} << bits) - 1, std::uint64_t{1} << bits, k_u64_max}) {
      encoder.ack({through}, out);
      ASSERT_TRUE(frame().has_ack());
      ASSERT_EQ(frame().ack().through(), through);
    }
  }
}

TEST_F(EncoderTest, EveryMemberReplacesWhatWasThereAndKeepsTheCapacity) {
  out.reserve(4'096);
  const char* const memory = out.data();
  encoder.ack({5}, out);
  encoder.time(1, 2, out);
  encoder.goodbye(GoodbyeReason::drain, 0, "", out);
  EXPECT_EQ(out.data(), memory);
  EXPECT_EQ(frame().goodbye().reason(), v1::GOODBYE_REASON_DRAIN);
}

TEST_F(EncoderTest, RejectCarriesTheNumberTheCodeAndTheText) {
  const std::string text(200, 't');  // a length of two bytes
  encoder.reject({{9}, RejectCode::too_large, text}, out);
  EXPECT_EQ(frame().reject().seq(), 9U);
  EXPECT_EQ(frame().reject().code(), v1::REJECT_CODE_TOO_LARGE);
  EXPECT_EQ(frame().reject().text(), text);
  encoder.reject({{9}, RejectCode::malformed, ""}, out);
  EXPECT_EQ(frame().reject().code(), v1::REJECT_CODE_MALFORMED);
  encoder.reject({{9}, RejectCode::unsupported, ""}, out);
  EXPECT_EQ(frame().reject().code(), v1::REJECT_CODE_UNSUPPORTED);
  encoder.reject({{9}, RejectCode::forbidden, ""}, out);
  EXPECT_EQ(frame().reject().code(), v1::REJECT_CODE_FORBIDDEN);
}

TEST_F(EncoderTest, ThrottleToNothingStillCarriesACredit) {
  encoder.throttle({0, 0}, ThrottleReason::backlog, out);
  EXPECT_TRUE(frame().throttle().has_credit());
  EXPECT_EQ(frame().throttle().credit().frames(), 0U);
  EXPECT_EQ(frame().throttle().reason(), v1::Throttle::REASON_BACKLOG);
  encoder.throttle({8, 16'384}, ThrottleReason::recovered, out);
  EXPECT_EQ(frame().throttle().credit().bytes(), 16'384U);
  EXPECT_EQ(frame().throttle().reason(), v1::Throttle::REASON_RECOVERED);
}

TEST_F(EncoderTest, TimeEchoesTheToken) {
  encoder.time(k_u64_max, -1, out);
  EXPECT_EQ(frame().time().token(), k_u64_max);
  EXPECT_EQ(frame().time().unix_ms(), -1);
}

TEST_F(EncoderTest, GoodbyeSaysWhyInTheNumbersOfTheContract) {
  using enum GoodbyeReason;
  const std::pair<GoodbyeReason, v1::GoodbyeReason> reasons[] = {
      {drain, v1::GOODBYE_REASON_DRAIN},
      {taken_over, v1::GOODBYE_REASON_TAKEN_OVER},
      {retry, v1::GOODBYE_REASON_RETRY},
      {overloaded, v1::GOODBYE_REASON_OVERLOADED},
      {policy, v1::GOODBYE_REASON_POLICY},
      {credential_revoked, v1::GOODBYE_REASON_CREDENTIAL_REVOKED},
      {stream_reused, v1::GOODBYE_REASON_STREAM_REUSED},
      {kicked, v1::GOODBYE_REASON_KICKED},
  };
  for (const auto& [ours, theirs] : reasons) {
    encoder.goodbye(ours, 1'500, "text", out);
    EXPECT_EQ(frame().goodbye().reason(), theirs);
    EXPECT_EQ(frame().goodbye().reconnect_after_ms(), 1'500U);
    EXPECT_EQ(frame().goodbye().text(), "text");
  }
}

TEST_F(EncoderTest, CommandCarriesItsPayloadWhole) {
  const std::string bytes("\0\xff\n", 3);
  const auto view = std::as_bytes(std::span(bytes));
  encoder.command({"c-1", "valve.open", {view.begin(), view.end()}, k_u64_max}, out);
  EXPECT_EQ(frame().command().id(), "c-1");
  EXPECT_EQ(frame().command().name(), "valve.open");
  EXPECT_EQ(frame().command().payload(), bytes);
  EXPECT_EQ(frame().command().deadline_ms(), k_u64_max);
  encoder.command({"c-2", "n", std::vector<std::byte>(70'000, std::byte{'x'}), 0}, out);
  EXPECT_EQ(frame().command().payload().size(), 70'000U);
}

TEST_F(EncoderTest, CommandCancelNamesTheCommand) {
  encoder.command_cancel({"c-1"}, out);
  ASSERT_TRUE(frame().has_command_cancel());
  EXPECT_EQ(frame().command_cancel().id(), "c-1");
}

TEST_F(EncoderTest, DesiredSaysWhetherItIsTheWholeDocument) {
  for (const bool full : {false, true}) {
    encoder.desired({7, R"({"rate":5})", full}, out);
    EXPECT_EQ(frame().desired().version(), 7U);
    EXPECT_EQ(frame().desired().delta_json(), R"({"rate":5})");
    EXPECT_EQ(frame().desired().full(), full);
  }
}

TEST_F(EncoderTest, PresenceIsAPresenceEvent) {
  PresenceRecord record;
  record.online = true;
  record.epoch = {12};
  record.node = "node-1";
  record.boot_id = "b";
  record.unix_ms = 5;
  record.reason = "drain";
  encoder.presence(record, out);
  v1::PresenceEvent event;
  ASSERT_TRUE(event.ParseFromString(out));
  EXPECT_EQ(event.SerializeAsString(), out);
  EXPECT_TRUE(event.online());
  EXPECT_EQ(event.epoch(), 12U);
  EXPECT_EQ(event.node(), "node-1");
  EXPECT_EQ(event.boot_id(), "b");
  EXPECT_EQ(event.unix_ms(), 5);
  EXPECT_EQ(event.reason(), "drain");
}

}  // namespace
}  // namespace fieldgate::wire
