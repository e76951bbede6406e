// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/device_session.h"

#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <string>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

void expect_ended(ShardBench& bench, TestDevice& device, EndReason reason) {
  EXPECT_EQ(bench.ended(reason), 1U) << to_string(reason);
  EXPECT_EQ(device.close_code().value_or(0), info(reason).close_code);
}

// --- Hello and Welcome

TEST(DeviceSession, WelcomesADeviceAndSaysItIsOnline) {
  ShardBench bench;
  TestDevice device(bench);
  const v1::Welcome welcome = device.connect("meter-1");
  EXPECT_EQ(welcome.epoch(), 1U);
  EXPECT_EQ(welcome.ack_stage(), v1::ACK_STAGE_FORWARDED);
  EXPECT_EQ(welcome.credit().frames(), SessionSettings().credit_frames);
  EXPECT_EQ(welcome.node(), "node-1");
  EXPECT_EQ(bench.shard().probe().sessions.get(), 1);
  EXPECT_EQ(bench.shard().probe().handshakes.get(), 0);
  EXPECT_TRUE(bench.presence.states["meter-1"].online);
  ASSERT_EQ(bench.fleet.changes.size(), 1U);
  EXPECT_EQ(bench.fleet.changes[0].firmware, "1.2.3");
  EXPECT_EQ(bench.uplink.records(RecordKind::presence).size(), 1U);
}

TEST(DeviceSession, RefusesAnIdThatIsNotTheAuthenticatedOne) {
  ShardBench bench;
  TestDevice device(bench);
  device.upgrade("meter-1");
  device.hello("meter-2");
  expect_ended(bench, device, EndReason::hello_id_mismatch);
  EXPECT_TRUE(bench.fleet.changes.empty());
}

TEST(DeviceSession, RefusesDataBeforeHello) {
  ShardBench bench;
  TestDevice device(bench);
  device.upgrade("meter-1");
  device.telemetry(1);
  expect_ended(bench, device, EndReason::protocol_state);
}

TEST(DeviceSession, RefusesASecondHello) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  device.hello("meter-1");
  expect_ended(bench, device, EndReason::protocol_state);
  EXPECT_FALSE(bench.presence.states["meter-1"].online);
  EXPECT_EQ(bench.presence.states["meter-1"].reason, "protocol_state");
}

TEST(DeviceSession, SaysWhatIsWrongWithAHello) {
  ShardBench bench;
  TestDevice device(bench);
  device.upgrade("meter-1");
  v1::DeviceFrame frame;
  frame.mutable_hello()->set_device_id("meter-1");
  frame.mutable_hello()->set_stream_id(1);
  frame.mutable_hello()->set_receive_max_bytes(10);
  device.send(frame);
  expect_ended(bench, device, EndReason::hello_invalid);
}

TEST(DeviceSession, AnswersABadTokenWith401AndEnds) {
  ShardBench bench;
  TestDevice device(bench);
  device.send_raw(
      "GET /v1/connect HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer wrong\r\n\r\n");
  EXPECT_TRUE(device.http().starts_with("HTTP/1.1 401"));
  EXPECT_TRUE(device.eof());
  EXPECT_EQ(bench.ended(EndReason::unauthenticated), 1U);
}

TEST(DeviceSession, AStreamWhoseCounterWentBackIsRefused) {
  ShardBench bench;
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    device.telemetry(1);
    device.telemetry(2);
    bench.stage_all(AckStage::forwarded);
  }
  TestDevice device(bench);
  device.upgrade("meter-1");
  device.hello("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 1);
  const auto frame = device.next();
  ASSERT_TRUE(frame && frame->has_goodbye());
  EXPECT_EQ(frame->goodbye().reason(), v1::GOODBYE_REASON_STREAM_REUSED);
  expect_ended(bench, device, EndReason::stream_reused);
}

// --- data and acknowledgements

TEST(DeviceSession, PassesOnTheBytesThatArrived) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1", 42);
  const v1::DeviceFrame frame = TestDevice::make_telemetry(1, 20.5);
  device.send(frame);
  const auto records = bench.uplink.records();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].device, "meter-1");
  EXPECT_EQ(records[0].stream, StreamId{42});
  EXPECT_EQ(records[0].seq, Seq{1});
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(records[0].payload.data()), records[0].payload.size()),
            frame.SerializeAsString());
}

TEST(DeviceSession, AcknowledgesForwardedOnlyOnceItIs) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.ack_every_frames = 2; });
  TestDevice device(bench);
  device.connect("meter-1");
  device.telemetry(1);
  device.telemetry(2);
  EXPECT_EQ(device.acked(), 0U);
  bench.stage_all(AckStage::accepted);
  EXPECT_EQ(device.acked(), 0U);
  for (const auto& block : bench.uplink.blocks) bench.shard().staged(AckStage::forwarded, block);
  EXPECT_EQ(device.acked(), 2U);
}

TEST(DeviceSession, AcknowledgesAcceptedWithoutWaitingForTheBroker) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.ack_every_frames = 1; });
  TestDevice device(bench);
  device.connect("meter-1", 1, v1::ACK_STAGE_ACCEPTED);
  device.telemetry(1);
  EXPECT_EQ(device.acked(), 1U);
}

TEST(DeviceSession, CoalescesAcknowledgements) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.ack_every_frames = 10; });
  TestDevice device(bench);
  device.connect("meter-1");
  for (std::uint64_t seq = 1; seq <= 20; ++seq) device.telemetry(seq);
  bench.stage_all(AckStage::forwarded);
  std::vector<std::uint64_t> acks;
  for (const auto& frame : device.all()) {
    if (frame.has_ack()) acks.push_back(frame.ack().through());
  }
  EXPECT_EQ(acks, (std::vector<std::uint64_t>{10, 20}));
}

TEST(DeviceSession, RecognisesADuplicateAndDoesNotForwardItAgain) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.ack_every = 0ms; });
  TestDevice device(bench);
  device.connect("meter-1");
  device.telemetry(1);
  device.telemetry(2);
  device.telemetry(2);
  device.telemetry(1);
  EXPECT_EQ(bench.uplink.records().size(), 2U);
  EXPECT_EQ(bench.shard().probe().duplicates.get(), 2U);
}

TEST(DeviceSession, CountsWhatNeverCame) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1", 1, v1::ACK_STAGE_FORWARDED, 5, 9);
  device.telemetry(5);
  device.telemetry(9);
  EXPECT_EQ(bench.shard().probe().gaps.get(), 3U) << "6, 7 and 8; what was before the oldest is not missing";
}

TEST(DeviceSession, ARejectPrecedesTheAckThatCoversIt) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.ack_every = 0ms; });
  TestDevice device(bench);
  device.connect("meter-1");
  device.telemetry(1);
  v1::DeviceFrame bad;
  bad.set_seq(2);
  bad.mutable_telemetry();  // no samples
  device.send(bad);
  bench.stage_all(AckStage::forwarded);
  bench.run();
  const auto frames = device.all();
  ASSERT_GE(frames.size(), 2U);
  EXPECT_TRUE(frames[0].has_reject());
  EXPECT_EQ(frames[0].reject().seq(), 2U);
  EXPECT_TRUE(frames.back().has_ack());
  EXPECT_EQ(frames.back().ack().through(), 2U);
  EXPECT_EQ(bench.uplink.records().size(), 1U);
}

TEST(DeviceSession, KeepsTheLastValueOfEachMetric) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  device.telemetry(1, 20.0);
  device.telemetry(2, 21.5);
  std::optional<DeviceDetail> detail;
  bench.shard().detail(DeviceId::parse("meter-1").value(),
                       [&](std::optional<DeviceDetail> d) { detail = std::move(d); });
  bench.run();
  ASSERT_TRUE(detail);
  ASSERT_EQ(detail->last_values.size(), 1U);
  EXPECT_EQ(std::get<double>(detail->last_values[0].value), 21.5);
  EXPECT_EQ(detail->unacked_frames, 2U);
}

// --- resume

TEST(DeviceSession, ResumesWhereTheEarlierConnectionStopped) {
  ShardBench bench;
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    device.telemetry(1);
    bench.stage_all(AckStage::forwarded);
    device.telemetry(2);
    device.telemetry(3);
  }
  TestDevice device(bench);
  const v1::Welcome welcome = device.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 2, 3);
  EXPECT_EQ(welcome.acked_through(), 1U);
  EXPECT_EQ(welcome.received_through(), 3U);
}

TEST(DeviceSession, ARecordForwardedAfterTheReconnectIsStillAcknowledged) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.ack_every = 0ms; });
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    device.telemetry(1);
  }
  TestDevice device(bench);
  EXPECT_EQ(device.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 1).acked_through(), 0U);
  bench.stage_all(AckStage::forwarded);
  bench.run();
  EXPECT_EQ(device.acked(), 1U);
}

TEST(DeviceSession, ARecordForwardedWhileTheDeviceWasAwayIsInTheNextWelcome) {
  ShardBench bench;
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    device.telemetry(1);
  }
  bench.stage_all(AckStage::forwarded);
  TestDevice device(bench);
  EXPECT_EQ(device.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 1).acked_through(), 1U);
}

// --- deadlines

TEST(DeviceSession, EachPhaseHasADeadline) {
  ShardBench bench;
  TestDevice silent(bench);
  TestDevice upgraded(bench);
  upgraded.upgrade("meter-1");
  bench.pass(7s);
  EXPECT_EQ(bench.ended(EndReason::upgrade_timeout), 1U);
  EXPECT_TRUE(silent.http().starts_with("HTTP/1.1 408"));
  expect_ended(bench, upgraded, EndReason::hello_timeout);
}

TEST(DeviceSession, PingsASilentDeviceAndGivesItUpAfterOneAndAHalfIntervals) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 20s; });
  TestDevice device(bench);
  device.connect("meter-1");
  bench.pass(19s);
  device.all();
  EXPECT_EQ(device.pings(), 0U);
  bench.pass(2s);
  device.all();
  EXPECT_EQ(device.pings(), 1U);
  bench.pass(8s);
  EXPECT_EQ(bench.ended(EndReason::heartbeat_lost), 0U);
  bench.pass(2s);
  expect_ended(bench, device, EndReason::heartbeat_lost);
  EXPECT_EQ(bench.presence.states["meter-1"].reason, "heartbeat_lost");
}

TEST(DeviceSession, ADeviceThatAnswersPingsStays) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 5s; });
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  for (int i = 0; i < 60; ++i) {
    bench.pass(1s);
    device.all();
  }
  EXPECT_EQ(bench.shard().probe().sessions.get(), 1);
  EXPECT_GE(device.pings(), 9U);
}

TEST(DeviceSession, AMessageMustBeCompleteInTime) {
  ShardBench bench(1, [](net::SessionConfig& config) {
    config.limits.message_assembly = 5s;
    config.session.heartbeat = 60s;
  });
  TestDevice device(bench);
  device.connect("meter-1");
  device.send_ws(0x02, "a fragment");
  bench.pass(3s);
  device.send_ws(0x00, "another");  // activity does not help
  bench.pass(3s);
  expect_ended(bench, device, EndReason::assembly_timeout);
}

// --- floods

TEST(DeviceSession, EmptyContinuationFramesAreMetered) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.limits.frames_burst = 50; });
  TestDevice device(bench);
  device.connect("meter-1");
  device.send_ws(0x02, "");
  for (int i = 0; i < 100; ++i) device.send_ws(0x00, "");
  expect_ended(bench, device, EndReason::frame_rate);
}

TEST(DeviceSession, PingsAreMetered) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.limits.frames_burst = 50; });
  TestDevice device(bench);
  device.connect("meter-1");
  for (int i = 0; i < 100; ++i) device.send_ws(0x89, "x");
  expect_ended(bench, device, EndReason::frame_rate);
}

TEST(DeviceSession, BytesAreMetered) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.limits.bytes_burst = 5'000; });
  TestDevice device(bench);
  device.connect("meter-1");
  device.send_ws(0x02, std::string(3'000, 'x'));
  device.send_ws(0x00, std::string(3'000, 'x'));
  expect_ended(bench, device, EndReason::byte_rate);
}

TEST(DeviceSession, ADeviceThatDoesNotReadIsClosedWhenItsOutboxIsFull) {
  ShardBench bench(1, [](net::SessionConfig& config) {
    config.limits.frames_burst = 10'000'000;
    config.limits.bytes_burst = 1'000'000'000;
  });
  TestDevice device(bench);
  device.connect("meter-1");
  const std::string payload(125, 'x');
  for (int i = 0; i < 20'000 && bench.ended(EndReason::slow_reader) == 0; ++i) device.send_ws(0x89, payload);
  EXPECT_EQ(bench.ended(EndReason::slow_reader), 1U);
  bench.run();
  EXPECT_EQ(bench.shard().probe().connections.get(), 0);
}

// --- takeover

TEST(DeviceSession, ANewerConnectionTakesOverAndTheOldOneIsTold) {
  ShardBench bench(2);
  TestDevice old(bench, 0);
  const v1::Welcome first = old.connect("meter-1", 7);
  old.telemetry(1);
  TestDevice fresh(bench, 1);
  const v1::Welcome second = fresh.connect("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 1);
  EXPECT_GT(second.epoch(), first.epoch());
  EXPECT_EQ(second.received_through(), 1U) << "what the old one had sent is in the log before Welcome";
  const auto goodbye = old.next();
  ASSERT_TRUE(goodbye && goodbye->has_goodbye());
  EXPECT_EQ(goodbye->goodbye().reason(), v1::GOODBYE_REASON_TAKEN_OVER);
  expect_ended(bench, old, EndReason::taken_over);
  const PresenceState& presence = bench.presence.states["meter-1"];
  EXPECT_TRUE(presence.online);
  EXPECT_EQ(presence.epoch.value, second.epoch());
  old.close();
  EXPECT_TRUE(bench.presence.states["meter-1"].online) << "a late end of the old one changes nothing";
}

TEST(DeviceSession, TwoThatFlapOverOneIdLeakNothing) {
  ShardBench bench(2, [](net::SessionConfig& config) { config.limits.takeovers_per_minute = 100'000; });
  for (int i = 0; i < 200; ++i) {
    TestDevice a(bench, 0);
    a.connect("meter-1", 1);
    TestDevice b(bench, 1);
    b.connect("meter-1", 2);
    EXPECT_EQ(bench.shard(0).probe().sessions.get() + bench.shard(1).probe().sessions.get(), 1);
  }
  bench.pass(std::chrono::seconds(20));  // they hung up at one moment
  EXPECT_EQ(bench.shard(0).probe().connections.get() + bench.shard(1).probe().connections.get(), 0);
  EXPECT_FALSE(bench.presence.states["meter-1"].online);
}

// --- ending

TEST(DeviceSession, ByeIsAnOrderlyEnd) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  v1::DeviceFrame frame;
  frame.mutable_bye()->set_reason(v1::Bye::REASON_SLEEP);
  device.send(frame);
  expect_ended(bench, device, EndReason::bye);
  EXPECT_TRUE(device.eof());
}

TEST(DeviceSession, ACloseIsAnsweredWithItsCode) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  device.send_ws(0x88, std::string("\x03\xE8", 2));
  EXPECT_EQ(device.close_code(), 1000);
  EXPECT_EQ(bench.ended(EndReason::bye), 1U);
}

TEST(DeviceSession, AnEndWithoutCloseIsCalledUnclean) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  device.close();
  EXPECT_EQ(bench.ended(EndReason::unclean_close), 1U);
  EXPECT_EQ(bench.presence.states["meter-1"].reason, "unclean_close");
}

TEST(DeviceSession, TextIsUnsupported) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  device.send_ws(0x81, "hello");
  expect_ended(bench, device, EndReason::unsupported_data);
}

TEST(DeviceSession, AnExceptionEndsOneSessionAndNoOther) {
  ShardBench bench;
  TestDevice well(bench);
  well.connect("meter-1");
  bench.authenticator.throws = true;
  TestDevice unlucky(bench);
  unlucky.upgrade("meter-2");
  EXPECT_EQ(bench.ended(EndReason::internal), 1U);
  EXPECT_EQ(bench.shard().probe().handler_exceptions.get(), 1U);
  well.telemetry(1);
  EXPECT_EQ(bench.uplink.records().size(), 1U);
}

TEST(DeviceSession, ARevokedTokenEndsTheSession) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.shard().recheck_credentials(false);
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 0U);
  bench.authenticator.valid = false;
  bench.shard().recheck_credentials(false);
  expect_ended(bench, device, EndReason::credential_revoked);
}

TEST(DeviceSession, TheSocketIsClosedIfThePeerNeverEndsItsSide) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  v1::DeviceFrame frame;
  frame.mutable_bye();
  device.send(frame);
  EXPECT_EQ(bench.shard().probe().connections.get(), 1) << "it waits for the peer's end";
  bench.pass(5s);
  EXPECT_EQ(bench.shard().probe().connections.get(), 0);
}

TEST(DeviceSession, DrainSendsEveryoneAwayWithAGoodbye) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.shard().drain(50ms);
  const auto frame = device.next();
  ASSERT_TRUE(frame && frame->has_goodbye());
  EXPECT_EQ(frame->goodbye().reason(), v1::GOODBYE_REASON_DRAIN);
  expect_ended(bench, device, EndReason::drain);
}

}  // namespace
}  // namespace fieldgate::test
