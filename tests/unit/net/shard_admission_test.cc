// SPDX-License-Identifier: Apache-2.0
//
// Between Hello and Welcome: who is let in, with which epoch and labels, and what if
// the answer takes its time.
#include "gateway/core/lane_filter.h"
#include "gateway/net/shard.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

// Says Hello and leaves the answer to come.
void apply(TestDevice& device, const std::string& id, std::uint64_t stream = 1) {
  device.upgrade(id);
  device.hello(id, stream);
}

std::uint64_t welcomed_with(TestDevice& device) {
  const auto frame = device.next();
  return frame && frame->has_welcome() ? frame->welcome().epoch() : 0;
}

TEST(Admission, WelcomeCarriesTheEpochThatWasGiven) {
  ShardBench bench(2);
  bench.admission.epoch = 4'711;
  TestDevice device(bench, 1);
  EXPECT_EQ(device.connect("meter-1").epoch(), 4'712U);
}

TEST(Admission, NothingHappensUntilTheAnswerComes) {
  ShardBench bench;
  bench.admission.later = true;
  TestDevice device(bench);
  apply(device, "meter-1");
  ASSERT_EQ(bench.admission.asked.size(), 1U);
  EXPECT_EQ(bench.admission.asked[0].id.str(), "meter-1");
  EXPECT_EQ(bench.admission.asked[0].profile.firmware, "1.2.3");
  EXPECT_EQ(bench.admission.asked[0].profile.labels, (Labels{{"site", "north"}}));
  EXPECT_FALSE(device.next());
  EXPECT_TRUE(bench.presence.states.empty());
  bench.admission.asked[0].answer(Admitted{{9}});
  EXPECT_EQ(welcomed_with(device), 9U);
  EXPECT_TRUE(bench.presence.states["meter-1"].online);
}

TEST(Admission, TheAnswerMayComeOnAnotherThread) {
  ShardBench bench(2);
  bench.admission.later = true;
  TestDevice device(bench, 1);
  apply(device, "meter-1");
  ASSERT_EQ(bench.admission.asked.size(), 1U);
  std::thread([&] { bench.admission.asked[0].answer(Admitted{{9}}); }).join();
  EXPECT_EQ(welcomed_with(device), 9U);
}

TEST(Admission, ASecondAnswerIsNobodys) {
  ShardBench bench;
  bench.admission.later = true;
  TestDevice device(bench);
  apply(device, "meter-1");
  bench.admission.asked[0].answer(Admitted{{9}});
  EXPECT_EQ(welcomed_with(device), 9U);
  bench.admission.asked[0].answer(Admitted{{10}});
  bench.run();
  EXPECT_EQ(bench.ended(EndReason::taken_over), 0U);
  EXPECT_EQ(bench.presence.states["meter-1"].epoch, Epoch{9});
}

// --- who keeps others waiting

bool displaced(ShardBench& bench) {
  bool done = false;
  bench.shard().post([&] { done = bench.shard().displace_staller(); });
  bench.run();
  return done;
}

TEST(Admission, APlaceIsTakenFromWhoSaysNothingAndNotFromWhomTheGatewayHasToAnswer) {
  ShardBench bench(1, [](net::SessionConfig& config) { config.session.deadlines.upgrade = 60s; });
  bench.admission.later = true;
  TestDevice applies(bench);
  apply(applies, "meter-1");
  TestDevice halts(bench);
  halts.send_raw("GET /v1/connect HTTP/1.1\r\n");
  TestDevice mute(bench);
  TestDevice later(bench);
  bench.run();
  EXPECT_FALSE(displaced(bench)) << "nobody has had time to speak";
  bench.pass(1s);
  later.send_raw("GET");  // not read yet when a place is looked for
  bool done = false;
  bench.shard().post([&] { done = bench.shard().displace_staller(); });
  bench.run();
  EXPECT_TRUE(done);
  EXPECT_TRUE(mute.http().starts_with("HTTP/1.1 408 ")) << mute.http();
  EXPECT_FALSE(displaced(bench)) << "who has begun has more time";
  bench.admission.asked.at(0).answer(Admitted{{9}});
  EXPECT_EQ(welcomed_with(applies), 9U);
  bench.pass(4s);
  EXPECT_TRUE(displaced(bench));
  EXPECT_TRUE(halts.http().starts_with("HTTP/1.1 408 ")) << halts.http();
  EXPECT_FALSE(displaced(bench));
  EXPECT_EQ(bench.ended(EndReason::upgrade_timeout), 2U);
}

// --- labels

TEST(Admission, LabelsOfTheRegistryWinOverTheDevicesOwn) {
  ShardBench bench;
  bench.admission.labels = {{"customer", "acme"}, {"site", "south"}};
  TestDevice device(bench);
  device.connect("meter-1");
  ASSERT_EQ(bench.fleet.changes.size(), 1U);
  EXPECT_EQ(bench.fleet.changes[0].labels, (Labels{{"customer", "acme"}, {"site", "south"}}));
}

TEST(Admission, OwnLabelsThatTheRegistryDoesNotNameStay) {
  EXPECT_EQ(overlaid({{"a", "own"}, {"b", "own"}, {"d", "own"}}, {{"b", "theirs"}, {"c", "theirs"}}),
            (Labels{{"a", "own"}, {"b", "theirs"}, {"c", "theirs"}, {"d", "own"}}));
  EXPECT_EQ(overlaid({}, {{"b", "theirs"}}), (Labels{{"b", "theirs"}}));
  EXPECT_EQ(overlaid({{"a", "own"}}, {}), (Labels{{"a", "own"}}));
}

TEST(Admission, LanesAreMatchedByTheLabelsThatHold) {
  for (const bool known : {false, true}) {
    const auto filters = std::make_shared<const LaneFilters>(
        std::vector<std::pair<std::uint32_t, LaneFilter>>{{3, LaneFilter::make({{}, {}, {"site=south"}}).value()}});
    ShardBench bench(1, {}, filters);
    if (known) bench.admission.labels = {{"site", "south"}};
    TestDevice device(bench);
    device.connect("meter-1");
    device.telemetry(1);
    ASSERT_EQ(bench.uplink.records().size(), 1U);
    EXPECT_EQ((bench.uplink.records()[0].lanes & (LaneSet{1} << 3)) != 0, known);
  }
}

// --- refusals

TEST(Admission, WhomTheRegistryDoesNotKnowIsToldToStayAwayForMinutes) {
  for (const EndReason reason : {EndReason::device_unknown, EndReason::device_disabled}) {
    ShardBench bench;
    bench.admission.refusal = reason;
    TestDevice device(bench);
    apply(device, "meter-1");
    const auto goodbye = device.next();
    ASSERT_TRUE(goodbye && goodbye->has_goodbye());
    EXPECT_EQ(goodbye->goodbye().reason(), v1::GOODBYE_REASON_POLICY);
    EXPECT_EQ(goodbye->goodbye().reconnect_after_ms(), 300'000U);
    EXPECT_EQ(device.close_code().value_or(0), info(reason).close_code);
    EXPECT_EQ(bench.ended(reason), 1U);
    EXPECT_TRUE(bench.presence.states.empty()) << "it never was online";
    EXPECT_TRUE(bench.fleet.changes.empty());
  }
}

TEST(Admission, WithoutAnEpochTheDeviceIsToldToRetry) {
  ShardBench bench;
  bench.admission.refusal = EndReason::no_epoch;
  TestDevice device(bench);
  apply(device, "meter-1");
  const auto goodbye = device.next();
  ASSERT_TRUE(goodbye && goodbye->has_goodbye());
  EXPECT_EQ(goodbye->goodbye().reason(), v1::GOODBYE_REASON_RETRY);
  EXPECT_EQ(device.close_code(), 1013);
  EXPECT_EQ(bench.ended(EndReason::no_epoch), 1U);
}

TEST(Admission, ARefusedConnectionLeavesTheEarlierOneAlone) {
  ShardBench bench;
  TestDevice old(bench);
  old.connect("meter-1");
  bench.admission.refusal = EndReason::no_epoch;
  TestDevice fresh(bench);
  apply(fresh, "meter-1");
  EXPECT_EQ(bench.ended(EndReason::no_epoch), 1U);
  EXPECT_EQ(bench.ended(EndReason::taken_over), 0U);
  old.telemetry(1);
  EXPECT_EQ(bench.uplink.records().size(), 1U);
}

TEST(Admission, OneThatIsNeverAnsweredIsGivenUp) {
  ShardBench bench;
  bench.admission.later = true;
  TestDevice device(bench);
  apply(device, "meter-1");
  bench.pass(7s);
  EXPECT_EQ(bench.ended(EndReason::no_epoch), 1U);
  const auto goodbye = device.next();
  ASSERT_TRUE(goodbye && goodbye->has_goodbye());
  EXPECT_EQ(goodbye->goodbye().reason(), v1::GOODBYE_REASON_RETRY);
  bench.admission.asked[0].answer(Admitted{{9}});
  bench.run();
  EXPECT_TRUE(bench.presence.states.empty()) << "the answer comes to nobody";
}

// --- what happens meanwhile

TEST(Admission, ASessionThatWentMeanwhileNeitherIsOnlineNorTakesOver) {
  ShardBench bench(2);
  TestDevice old(bench, 0);
  old.connect("meter-1");
  bench.admission.later = true;
  {
    TestDevice fresh(bench, 1);
    apply(fresh, "meter-1");
  }
  ASSERT_EQ(bench.admission.asked.size(), 1U);
  bench.admission.asked[0].answer(Admitted{{9}});
  bench.run();
  EXPECT_EQ(bench.ended(EndReason::taken_over), 0U) << "for one that is not there any more";
  EXPECT_EQ(bench.presence.states["meter-1"].epoch, Epoch{1});
  old.telemetry(1);
  EXPECT_EQ(bench.uplink.records().size(), 1U);
}

TEST(Admission, OfTwoThatWaitForItTheLaterOwnsTheDeviceInTheEnd) {
  ShardBench bench(2);
  bench.admission.later = true;
  TestDevice first(bench, 0);
  apply(first, "meter-1", 1);
  TestDevice second(bench, 1);
  apply(second, "meter-1", 2);
  ASSERT_EQ(bench.admission.asked.size(), 2U);
  bench.admission.asked[0].answer(Admitted{{9}});
  bench.admission.asked[1].answer(Admitted{{10}});
  EXPECT_EQ(welcomed_with(second), 10U);
  EXPECT_EQ(welcomed_with(first), 9U);
  EXPECT_EQ(first.close_code(), 4014);
  EXPECT_EQ(bench.presence.states["meter-1"].epoch, Epoch{10});
}

TEST(Admission, AnOlderEpochNeverTakesOver) {
  ShardBench bench(2);
  bench.admission.later = true;
  TestDevice first(bench, 0);
  apply(first, "meter-1", 1);
  TestDevice second(bench, 1);
  apply(second, "meter-1", 2);
  bench.admission.asked[1].answer(Admitted{{10}});
  EXPECT_EQ(welcomed_with(second), 10U);
  bench.admission.asked[0].answer(Admitted{{9}});
  bench.run();
  const auto goodbye = first.next();
  ASSERT_TRUE(goodbye && goodbye->has_goodbye());
  EXPECT_EQ(goodbye->goodbye().reason(), v1::GOODBYE_REASON_TAKEN_OVER);
  second.telemetry(1);
  EXPECT_EQ(bench.uplink.records().size(), 1U);
  EXPECT_EQ(bench.presence.states["meter-1"].epoch, Epoch{10});
}

TEST(Admission, ATakeoverKeepsTheEpochThatItWasAdmittedWith) {
  ShardBench bench;
  TestDevice old(bench);
  old.connect("meter-1", 1);
  bench.admission.epoch = 500;
  TestDevice fresh(bench);
  EXPECT_EQ(fresh.connect("meter-1", 2).epoch(), 501U);
  EXPECT_EQ(bench.admission.epoch, 501U) << "one, not another as the old one let go";
}

TEST(Admission, AStopWithClaimsOutstandingForgetsThem) {
  FakeAdmission::Answer late;
  {
    ShardBench bench;
    bench.admission.later = true;
    TestDevice device(bench);
    apply(device, "meter-1");
    late = bench.admission.asked[0].answer;
    bench.admission.asked.clear();
    late(Admitted{{9}});  // and is never looked at
  }
}

}  // namespace
}  // namespace fieldgate::test
