// SPDX-License-Identifier: Apache-2.0
//
// How long a credential carries a connection.
#include "gateway/net/shard.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <string>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

void recheck(ShardBench& bench, const std::vector<std::string>& ids) {
  for (std::size_t home = 0; home < 2; ++home) {
    std::vector<DeviceId> at_home;
    for (const std::string& id : ids) {
      if (home_shard(id, 2) == home) at_home.push_back(DeviceId::parse(id).value());
    }
    bench.shard(static_cast<std::uint32_t>(home))
        .recheck(std::make_shared<const std::vector<DeviceId>>(std::move(at_home)), 0);
  }
  bench.run();
}

TEST(SessionCredential, IsKeptWholeAndAskedAboutAgain) {
  ShardBench bench;
  bench.authenticator.expires_unix_ms = bench.clock.unix_ms() + 3'600'000;
  bench.authenticator.proof = IdentityProof::jwt;
  bench.authenticator.sha256.fill(0xA5);
  TestDevice device(bench);
  device.connect("meter-1");
  bench.authenticator.asked.clear();
  bench.shard().recheck_credentials(false);
  ASSERT_EQ(bench.authenticator.asked.size(), 1U);
  const DeviceIdentity& asked = bench.authenticator.asked[0];
  EXPECT_EQ(asked.id.str(), "meter-1");
  EXPECT_EQ(asked.proof, IdentityProof::jwt);
  EXPECT_EQ(asked.sha256, bench.authenticator.sha256);
  EXPECT_EQ(asked.expires_unix_ms, bench.authenticator.expires_unix_ms);
}

TEST(SessionCredential, EndsTheSessionWhenItExpires) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 600s; });
  bench.authenticator.expires_unix_ms = bench.clock.unix_ms() + 400'000;
  TestDevice device(bench);
  device.connect("meter-1");
  bench.pass(399s);
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 0U);
  bench.pass(2s);
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 1U);
  const auto goodbye = device.next();
  ASSERT_TRUE(goodbye && goodbye->has_goodbye());
  EXPECT_EQ(goodbye->goodbye().reason(), v1::GOODBYE_REASON_CREDENTIAL_REVOKED);
  EXPECT_EQ(device.close_code(), 4013);
}

TEST(SessionCredential, ExpiresWhileTheDeviceIsBusyToo) {
  ShardBench bench;
  bench.authenticator.expires_unix_ms = bench.clock.unix_ms() + 40'000;
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  for (std::uint64_t seq = 1; seq <= 60 && bench.ended(EndReason::credential_revoked) == 0; ++seq) {
    device.telemetry(seq);
    bench.pass(1s);
    bench.stage_all(AckStage::forwarded);
    device.all();
  }
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 1U);
  EXPECT_NEAR(static_cast<double>(bench.uplink.records().size()), 40, 2);
}

TEST(SessionCredential, GoesByTheWallClockEvenIfThatIsSet) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 30s; });
  bench.authenticator.expires_unix_ms = bench.clock.unix_ms() + 10 * 86'400'000LL;
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  bench.clock.set_unix_ms(bench.authenticator.expires_unix_ms + 1'000);
  for (int i = 0; i < 31 && bench.ended(EndReason::credential_revoked) == 0; ++i) {
    bench.pass(1s);
    device.all();
  }
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 1U) << "seen when the session is next looked at";
}

TEST(SessionCredential, ThatNeverExpiresEndsNothing) {
  ShardBench bench(
      1, [](net::SessionConfig& config) { config.session.heartbeat = config.session.heartbeat_max = 4'000s; });
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  for (int i = 0; i < 24; ++i) {
    bench.pass(1'000s);
    device.all();
  }
  EXPECT_EQ(bench.shard().probe().sessions.get(), 1);
}

// As when it was replaced, and the time for both has passed.
TEST(SessionCredential, ThatHasEndedUnannouncedEndsTheSessionInTwoMinutes) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = config.session.heartbeat_max; });
  TestDevice device(bench);
  device.connect("meter-1");
  bench.pass(100s);
  bench.authenticator.valid = false;
  bench.pass(120s);
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 1U);
}

TEST(SessionCredential, IsNotAskedAboutAllTheTime) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.heartbeat = 5s; });
  TestDevice device(bench);
  device.answer_pings(true);
  device.connect("meter-1");
  for (int i = 0; i < 600; ++i) {
    bench.pass(1s);
    device.all();
  }
  EXPECT_LE(bench.authenticator.asked.size(), 11U);
}

TEST(SessionCredential, ThatExpiredBeforeWelcomeLetsNobodyIn) {
  ShardBench bench;
  bench.authenticator.expires_unix_ms = bench.clock.unix_ms() + 1'000;
  bench.admission.later = true;
  TestDevice device(bench);
  device.upgrade("meter-1");
  device.hello("meter-1");
  bench.pass(2s);
  bench.admission.asked[0].answer(Admitted{{9}});
  bench.run();
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 1U);
  EXPECT_EQ(bench.shard().probe().sessions.get(), 0);
}

// The sweep after a change of keys sees live sessions only.
TEST(SessionCredential, ThatWasRevokedBetweenHandshakeAndWelcomeLetsNobodyIn) {
  ShardBench bench;
  bench.admission.later = true;
  TestDevice device(bench);
  device.upgrade("meter-1");
  device.hello("meter-1");
  bench.authenticator.valid = false;
  bench.shard().recheck_credentials(false);
  bench.run();
  bench.admission.asked[0].answer(Admitted{{9}});
  bench.run();
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 1U);
  EXPECT_FALSE(bench.presence.states["meter-1"].online);
}

TEST(SessionCredential, IsAskedAboutForTheDevicesNamedAndNoOthers) {
  ShardBench bench(2);
  std::vector<std::unique_ptr<TestDevice>> devices;
  for (std::uint32_t i = 0; i < 6; ++i) {
    devices.push_back(std::make_unique<TestDevice>(bench, i % 2));
    devices.back()->connect("meter-" + std::to_string(i));
  }
  bench.authenticator.valid = false;
  recheck(bench, {"meter-1", "meter-4", "nobody"});
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 2U);
  EXPECT_EQ(devices[1]->close_code(), 4013);
  EXPECT_EQ(devices[4]->close_code(), 4013);
  EXPECT_TRUE(bench.presence.states["meter-0"].online);
}

TEST(SessionCredential, OfMoreDevicesThanOneTurnTakesIsAskedAboutOfEach) {
  ShardBench bench(2);
  TestDevice device(bench);
  device.connect("meter-1");
  bench.authenticator.valid = false;
  std::vector<std::string> many;
  for (int i = 0; i < 2'000; ++i) many.push_back("other-" + std::to_string(i));
  many.push_back("meter-1");
  recheck(bench, many);
  EXPECT_EQ(bench.ended(EndReason::credential_revoked), 1U);
}

TEST(SessionCredential, IsNamedInTheDetailOfTheDevice) {
  for (const IdentityProof proof : {IdentityProof::token, IdentityProof::jwt}) {
    ShardBench bench;
    bench.authenticator.proof = proof;
    TestDevice device(bench);
    device.connect("meter-1");
    std::string credential;
    bench.shard().detail(DeviceId::parse("meter-1").value(), [&](std::optional<DeviceDetail> detail) {
      credential = detail ? detail->credential : "none";
    });
    bench.run();
    EXPECT_EQ(credential, to_string(proof));
  }
}

}  // namespace
}  // namespace fieldgate::test
