// SPDX-License-Identifier: Apache-2.0
//
// What the flight recorder hears of a connection, and what the live tap does.
#include "gateway/net/shard.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;
using Kinds = std::vector<TimelineKind>;

Kinds kinds(const std::vector<TimelineEntry>& entries) {
  Kinds found;
  for (const TimelineEntry& entry : entries) found.push_back(entry.kind);
  return found;
}

std::string field(const TimelineEntry& entry, std::string_view name) {
  const auto at = std::ranges::find(entry.fields, name, &TimelineFields::value_type::first);
  return at == entry.fields.end() ? "(none)" : at->second;
}

void bad_frame(TestDevice& device, std::uint64_t seq) {
  v1::DeviceFrame bad;
  bad.set_seq(seq);
  bad.mutable_telemetry();  // no samples
  device.send(bad);
}

TEST(Timeline, TellsOfAConnectionFromItsBeginningToItsEnd) {
  ShardBench bench;
  TestDevice device(bench);
  const Epoch epoch{device.connect("meter-1").epoch()};
  bench.pass(5s);
  device.telemetry(1);
  device.close();
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), (Kinds{TimelineKind::connected, TimelineKind::disconnected}));
  EXPECT_EQ(field(told[0], "address"), "127.0.0.1:40000");
  EXPECT_EQ(field(told[0], "credential"), "token");
  EXPECT_EQ(field(told[0], "stage"), "forwarded");
  EXPECT_EQ(field(told[0], "firmware"), "1.2.3");
  EXPECT_EQ(told[0].epoch, epoch);
  EXPECT_EQ(field(told[1], "reason"), "unclean_close");
  EXPECT_EQ(field(told[1], "duration_ms"), "5000");
  EXPECT_EQ(field(told[1], "frames"), "2");
  EXPECT_EQ(told[1].epoch, epoch);
  EXPECT_EQ(told[1].unix_ms - told[0].unix_ms, 5'000);
  EXPECT_TRUE(bench.recorder.refusals.empty());
}

TEST(Timeline, NamesTheCertificateThatADeviceWasBelievedByAndNoTokenOrKey) {
  ShardBench bench;
  bench.authenticator.sha256.fill(0xA5);
  bench.authenticator.proof = IdentityProof::certificate;
  TestDevice(bench).connect("meter-1");
  bench.authenticator.proof = IdentityProof::token;
  TestDevice(bench, 0, 40'001).connect("meter-2");
  bench.authenticator.proof = IdentityProof::jwt;
  TestDevice(bench, 0, 40'002).connect("meter-3");
  std::string hex;
  for (int i = 0; i < 32; ++i) hex += "a5";
  EXPECT_EQ(field(bench.timeline("meter-1").at(0), "credential"), "certificate");
  EXPECT_EQ(field(bench.timeline("meter-1").at(0), "certificate_sha256"), hex);
  for (const auto* id : {"meter-2", "meter-3"}) {
    EXPECT_EQ(field(bench.timeline(id).at(0), "certificate_sha256"), "(none)") << id;
  }
}

TEST(Timeline, SaysWhatADeviceClosedWith) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  device.send_ws(0x88, std::string("\x0B\xB8", 2) + "out of memory");
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(field(told[1], "reason"), "peer_closed");
  EXPECT_EQ(field(told[1], "detail"), "out of memory");
}

TEST(Timeline, NamesWhoTookOver) {
  ShardBench bench(2);
  TestDevice old(bench, 0);
  const Epoch first{old.connect("meter-1", 1).epoch()};
  TestDevice fresh(bench, 1, 40'001);
  const Epoch second{fresh.connect("meter-1", 2).epoch()};
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), (Kinds{TimelineKind::connected, TimelineKind::taken_over, TimelineKind::disconnected,
                                TimelineKind::connected}));
  EXPECT_EQ(field(told[1], "by"), "127.0.0.1:40001");
  EXPECT_EQ(told[1].epoch, first);
  EXPECT_EQ(field(told[2], "reason"), "taken_over");
  EXPECT_EQ(told[3].epoch, second);
}

// --- who is not let in

TEST(Timeline, ACredentialThatSaysItIsAnotherDeviceIsWrittenDownUnderItsOwnName) {
  ShardBench bench;
  TestDevice device(bench);
  device.upgrade("attacker");
  device.hello("victim");
  EXPECT_TRUE(bench.timeline("victim").empty());
  const auto told = bench.timeline("attacker");
  ASSERT_EQ(kinds(told), Kinds{TimelineKind::refused});
  EXPECT_EQ(field(told[0], "reason"), "hello_id_mismatch");
  EXPECT_EQ(field(told[0], "detail"), "Hello says victim");
  EXPECT_EQ(field(told[0], "address"), "127.0.0.1:40000");
  EXPECT_EQ(told[0].epoch, Epoch{});
}

TEST(Timeline, TellsOfEachRefusalByTheRegistryAndByTheStore) {
  for (const EndReason reason : {EndReason::device_unknown, EndReason::device_disabled, EndReason::no_epoch}) {
    ShardBench bench;
    bench.admission.refusal = reason;
    TestDevice device(bench);
    device.upgrade("meter-1");
    device.hello("meter-1");
    const auto told = bench.timeline("meter-1");
    ASSERT_EQ(kinds(told), Kinds{TimelineKind::refused});
    EXPECT_EQ(field(told[0], "reason"), to_string(reason));
  }
}

TEST(Timeline, TellsOfAnIdThatChangesHandsTooOften) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.limits.takeovers_per_minute = 1; });
  TestDevice first(bench);
  first.connect("meter-1", 1);
  TestDevice second(bench);
  second.connect("meter-1", 2);
  bench.recorder.entries.clear();
  TestDevice third(bench);
  third.upgrade("meter-1");
  third.hello("meter-1", 3);
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), Kinds{TimelineKind::refused});
  EXPECT_EQ(field(told[0], "reason"), "takeover_rate");
}

TEST(Timeline, TellsOfAStreamThatWasUsedBeforeAsARefusal) {
  ShardBench bench;
  {
    TestDevice device(bench);
    device.connect("meter-1", 7);
    device.telemetry(1);
    device.telemetry(2);
  }
  bench.recorder.entries.clear();
  TestDevice device(bench);
  device.upgrade("meter-1");
  device.hello("meter-1", 7, v1::ACK_STAGE_FORWARDED, 1, 1);
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), Kinds{TimelineKind::refused}) << "it never had Welcome";
  EXPECT_EQ(field(told[0], "reason"), "stream_reused");
  EXPECT_EQ(told[0].epoch, Epoch{2});
}

TEST(Timeline, OneThatIsAuthenticatedAndSaysNoHelloIsInItsTimeline) {
  ShardBench bench;
  TestDevice device(bench);
  device.upgrade("meter-1");
  bench.pass(7s);
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), Kinds{TimelineKind::refused});
  EXPECT_EQ(field(told[0], "reason"), "hello_timeout");
}

TEST(Timeline, WhoIsTurnedAwayBeforeHeIsKnownIsInNoTimeline) {
  ShardBench bench;
  TestDevice silent(bench);
  TestDevice nonsense(bench);
  nonsense.send_raw("GET /elsewhere HTTP/1.1\r\nHost: g\r\n\r\n");
  TestDevice stranger(bench);
  stranger.send_raw(
      "GET /v1/connect HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer wrong\r\n\r\n");
  bench.pass(7s);
  EXPECT_TRUE(bench.recorder.entries.empty());
  std::vector<std::string> reasons;
  for (const RefusalEntry& refusal : bench.recorder.refusals) {
    reasons.push_back(refusal.reason);
    EXPECT_EQ(refusal.address, "127.0.0.1:40000");
    EXPECT_GT(refusal.unix_ms, 0);
  }
  EXPECT_EQ(reasons, (std::vector<std::string>{"upgrade_path", "unauthenticated", "upgrade_timeout"}));
  EXPECT_EQ(bench.recorder.refusals[1].detail, "no such token");
}

// --- while it is connected

TEST(Timeline, TellsOfCreditTakenAndGivenBack) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.level(UplinkLevel::withheld);
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), (Kinds{TimelineKind::connected, TimelineKind::throttled}));
  EXPECT_EQ(field(told[1], "frames"), "0");
  EXPECT_EQ(field(told[1], "reason"), "backlog");
}

TEST(Timeline, RejectsOfOneSecondAreOneLine) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  for (std::uint64_t seq = 1; seq <= 50; ++seq) bad_frame(device, seq);
  auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), (Kinds{TimelineKind::connected, TimelineKind::rejected})) << "the first at once";
  EXPECT_EQ(field(told[1], "code"), "malformed");
  EXPECT_EQ(field(told[1], "seq"), "1");
  EXPECT_EQ(field(told[1], "count"), "1");
  EXPECT_NE(field(told[1], "text"), "(none)");
  bench.pass(1s);
  bad_frame(device, 51);
  told = bench.timeline("meter-1");
  ASSERT_EQ(told.size(), 3U);
  EXPECT_EQ(field(told[2], "count"), "50") << "49 and this one";
  bad_frame(device, 52);
  device.close();
  told = bench.timeline("meter-1");
  ASSERT_EQ(told.size(), 5U);
  EXPECT_EQ(told[3].kind, TimelineKind::rejected) << "none is left out";
  EXPECT_EQ(field(told[3], "count"), "1");
}

// The timeline keeps a hundred lines: a device that is rejected once a second for a day leaves
// room for all else.
TEST(Timeline, RejectsWithoutEndAreFewLinesThatCountThemAll) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 600s; });
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  constexpr std::uint64_t k_rejects = 4'000;
  for (std::uint64_t seq = 1; seq <= k_rejects; ++seq) {
    bad_frame(device, seq);
    bench.pass(1s);
    device.all();  // a device that does not read is ended for that
  }
  device.close();
  std::uint64_t counted = 0;
  std::size_t lines = 0;
  for (const auto& entry : bench.timeline("meter-1")) {
    if (entry.kind != TimelineKind::rejected) continue;
    ++lines;
    counted += std::stoull(field(entry, "count"));
  }
  EXPECT_EQ(counted, k_rejects);
  EXPECT_LE(lines, 15U);
}

TEST(Timeline, RejectsThatNothingFollowsAreToldOfStill) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 5s; });
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  for (std::uint64_t seq = 1; seq <= 3; ++seq) bad_frame(device, seq);
  for (int i = 0; i < 15; ++i) {
    bench.pass(1s);
    device.all();
  }
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), (Kinds{TimelineKind::connected, TimelineKind::rejected, TimelineKind::rejected}));
  EXPECT_EQ(field(told[2], "count"), "2");
}

TEST(Timeline, CountsTheRecordsThatTheLogRefused) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.uplink.full = true;
  const auto frame = [](std::uint64_t seq) {
    return TestDevice::make_ws(0x82, TestDevice::make_telemetry(seq, 1.0).SerializeAsString());
  };
  device.send_raw(frame(1) + frame(2) + frame(3));
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), (Kinds{TimelineKind::connected, TimelineKind::dropped, TimelineKind::disconnected}));
  EXPECT_EQ(field(told[1], "reason"), "overloaded");
  EXPECT_EQ(field(told[1], "count"), "3");
  EXPECT_EQ(field(told[2], "reason"), "overloaded");
}

TEST(Timeline, SaysNothingOfHealthyTelemetry) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  for (std::uint64_t seq = 1; seq <= 50; ++seq) device.telemetry(seq);
  EXPECT_EQ(kinds(bench.timeline("meter-1")), Kinds{TimelineKind::connected});
}

TEST(Timeline, TellsOfConnectionsThatAStopCutsOff) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.with_sessions([](net::DeviceSession& session) { session.abort(); });
  const auto told = bench.timeline("meter-1");
  ASSERT_EQ(kinds(told), (Kinds{TimelineKind::connected, TimelineKind::disconnected}));
  EXPECT_EQ(field(told[1], "reason"), "drain");
}

TEST(Timeline, ValuesAreCutAt256BytesAndNotWithinACharacter) {
  ShardBench bench;
  bench.authenticator.refusal = std::string(255, 'x') + "ü and more";
  TestDevice device(bench);
  device.send_raw(
      "GET /v1/connect HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer wrong\r\n\r\n");
  ASSERT_EQ(bench.recorder.refusals.size(), 1U);
  EXPECT_EQ(bench.recorder.refusals[0].detail, std::string(255, 'x'));
}

// --- the live tap

TEST(LiveTap, GetsTheRecordsOfWatchedDevicesAloneAndWhole) {
  ShardBench bench(2);
  TestDevice watched(bench, 0);
  watched.connect("meter-1", 42);
  TestDevice other(bench, 1);
  other.connect("meter-2");
  watched.telemetry(1);
  EXPECT_TRUE(bench.tap.records.empty());
  bench.watch({DeviceId::parse("meter-1").value()});
  const v1::DeviceFrame frame = TestDevice::make_telemetry(2, 20.5);
  watched.send(frame);
  other.telemetry(1);
  ASSERT_EQ(bench.tap.records.size(), 1U);
  const TappedRecord& record = bench.tap.records[0];
  EXPECT_EQ(record.device, "meter-1");
  EXPECT_EQ(record.kind, RecordKind::telemetry);
  EXPECT_EQ(record.stream, StreamId{42});
  EXPECT_EQ(record.seq, Seq{2});
  EXPECT_EQ(record.received_unix_ms, bench.clock.unix_ms());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(record.payload.data()), record.payload.size()),
            frame.SerializeAsString());
  EXPECT_EQ(bench.uplink.records().size(), 3U) << "besides their way north";
}

TEST(LiveTap, StopsWhenNobodyWatchesAnyMore) {
  ShardBench bench;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.watch({DeviceId::parse("meter-1").value()});
  device.telemetry(1);
  bench.watch({DeviceId::parse("meter-2").value()});
  device.telemetry(2);
  EXPECT_EQ(bench.tap.records.size(), 1U);
  bench.watch({DeviceId::parse("meter-1").value()});
  device.telemetry(3);
  bench.shard().watch(nullptr);
  bench.run();
  device.telemetry(4);
  EXPECT_EQ(bench.tap.records.size(), 2U);
}

TEST(LiveTap, KnowsADeviceThatComesLater) {
  ShardBench bench;
  bench.watch({DeviceId::parse("meter-1").value()});
  TestDevice device(bench);
  device.connect("meter-1");
  device.telemetry(1);
  EXPECT_EQ(bench.tap.records.size(), 1U);
}

TEST(LiveTap, GetsNeitherDuplicatesNorRejects) {
  ShardBench bench;
  bench.watch({DeviceId::parse("meter-1").value()});
  TestDevice device(bench);
  device.connect("meter-1");
  device.telemetry(1);
  device.telemetry(1);
  bad_frame(device, 2);
  EXPECT_EQ(bench.tap.records.size(), 1U);
}

TEST(LiveTap, FindsOneAmongMoreSessionsThanATurnLooksAt) {
  ShardBench bench;
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (int i = 0; i < 300; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench));
    devices.back()->connect("meter-" + std::to_string(i));
  }
  bench.watch({DeviceId::parse("meter-299").value()});
  devices[299]->telemetry(1);
  EXPECT_EQ(bench.tap.records.size(), 1U);
}

}  // namespace
}  // namespace fieldgate::test
