// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/forwarder.h"

#include "fieldgate/v1/northbound.pb.h"
#include "tests/support/fake_dead_letters.h"
#include "tests/support/lane_fakes.h"
#include "tests/support/northbound_records.h"

#include <gtest/gtest.h>

namespace fieldgate::mqtt {
namespace {

using test::block_of;
using test::OwnedRecord;
using test::telemetry;

using std::chrono::milliseconds;

struct ForwarderTest : testing::Test {
  // `kinds` name the only route.
  void make(RoutePayload payload, std::vector<std::string> kinds = {"telemetry", "event"}) {
    forwarder.emplace(Forwarder::Parts{
        Routes::make({{std::move(kinds), payload}}).value(), BatchLimits{1, 32'768, 4, milliseconds(5), "gw-1"},
        Backoff(milliseconds(100), milliseconds(100), 1), topics, clock, log, probe, dead_letters, "main"});
    forwarder->attach(feed);
    forwarder->connected(10, 32'768);
  }
  void push(std::uint64_t first, std::size_t count) {
    std::vector<OwnedRecord> records;
    for (std::size_t i = 0; i < count; ++i) records.push_back(telemetry("pump-7", first + i));
    feed.push(block_of(records));
  }
  std::vector<Message> take_all() {
    std::vector<Message> all;
    while (auto message = forwarder->take(clock.now())) all.push_back(*std::move(message));
    return all;
  }
  static std::vector<std::uint64_t> seqs(const Message& message) {
    std::vector<std::uint64_t> result;
    if (message.is_batch) {
      v1::RecordBatch batch;
      EXPECT_TRUE(batch.ParseFromString(message.payload));
      for (const auto& record : batch.records()) result.push_back(record.seq());
    } else {
      v1::DeviceFrame frame;
      EXPECT_TRUE(frame.ParseFromString(message.payload));
      result.push_back(frame.seq());
    }
    return result;
  }

  const Topics topics = Topics::make("p", "gw-1").value();
  test::HandClock clock;
  test::TextLog log;
  MqttLaneProbe probe;
  test::FakeDeadLetters dead_letters;
  test::FakeFeed feed;
  std::optional<Forwarder> forwarder;
};

using Seqs = std::vector<std::uint64_t>;

TEST_F(ForwarderTest, CompletesABlockOnceEveryRecordIsAcknowledged) {
  make(RoutePayload::protobuf);
  push(1, 3);
  auto messages = take_all();
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(messages[0].topic, "p/devices/pump-7/telemetry");
  forwarder->acknowledged(std::move(messages[0]));
  forwarder->acknowledged(std::move(messages[2]));
  forwarder->report();
  EXPECT_EQ(feed.through(), 0U);
  forwarder->acknowledged(std::move(messages[1]));
  forwarder->report();
  EXPECT_EQ(feed.through(), 3U);
  EXPECT_EQ(feed.outcome().forwarded, 3U);
  EXPECT_TRUE(forwarder->idle());
}

TEST_F(ForwarderTest, CountsAKindWithoutRouteAsFiltered) {
  make(RoutePayload::protobuf, {"event"});
  push(1, 3);
  EXPECT_TRUE(take_all().empty());
  forwarder->report();
  EXPECT_EQ(feed.through(), 3U);
  EXPECT_EQ(feed.outcome().filtered, 3U);
}

TEST_F(ForwarderTest, ReadsNoFurtherThanTheWindowNeeds) {
  make(RoutePayload::protobuf);
  for (std::uint64_t i = 0; i < 10; ++i) push(1 + 10 * i, 10);
  auto first = forwarder->take(clock.now());
  // One taken, ten waiting: at most two blocks are open.
  forwarder->acknowledged(*std::move(first));
  EXPECT_EQ(feed.through(), 0U);
  auto rest = take_all();
  EXPECT_EQ(rest.size(), 99U);
}

TEST_F(ForwarderTest, SendsAgainInOrderAndBeforeAnythingNewAfterALostConnection) {
  make(RoutePayload::protobuf);
  push(1, 6);
  auto messages = take_all();
  forwarder->acknowledged(std::move(messages[1]));
  messages.erase(messages.begin() + 1);
  forwarder->disconnected(std::move(messages));
  push(7, 1);
  forwarder->connected(10, 32'768);
  Seqs again;
  for (const Message& message : take_all()) again.push_back(seqs(message).front());
  EXPECT_EQ(again, (Seqs{1, 3, 4, 5, 6, 7}));
}

TEST_F(ForwarderTest, LetsABatchLingerAndTellsWhenToWake) {
  make(RoutePayload::batch);
  push(1, 2);
  EXPECT_FALSE(forwarder->take(clock.now()));
  EXPECT_EQ(forwarder->wake_at(), clock.now() + milliseconds(5));
  clock.passed += milliseconds(5);
  auto batch = forwarder->take(clock.now());
  ASSERT_TRUE(batch);
  EXPECT_EQ(seqs(*batch), (Seqs{1, 2}));
  push(3, 1);
  forwarder->hurry();
  EXPECT_EQ(seqs(*forwarder->take(clock.now())), Seqs{3}) << "in a hurry nothing lingers";
}

TEST_F(ForwarderTest, SplitsARefusedBatchDownToTheOffender) {
  make(RoutePayload::batch);
  push(1, 4);
  forwarder->hurry();
  std::size_t publishes = 0;
  Seqs forwarded;
  // A broker that refuses whatever holds record 3.
  for (int guard = 0; guard < 50; ++guard) {
    auto message = forwarder->take(clock.now());
    if (!message) break;
    ++publishes;
    const Seqs in_it = seqs(*message);
    if (std::ranges::count(in_it, 3U) > 0) {
      EXPECT_EQ(forwarder->refused(*std::move(message), 0x99, clock.now()), "");
    } else {
      forwarded.insert(forwarded.end(), in_it.begin(), in_it.end());
      forwarder->acknowledged(*std::move(message));
    }
  }
  forwarder->report();
  EXPECT_EQ(forwarded, (Seqs{1, 2, 4}));
  EXPECT_EQ(publishes, 5U) << "1-4, 1-2, 3-4, 3, 4";
  EXPECT_EQ(feed.through(), 4U);
  EXPECT_EQ(feed.outcome().dead_lettered, 1U);
  const auto letters = dead_letters.all();
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].lane, "main");
  EXPECT_EQ(letters[0].kind, RecordKind::telemetry);
  EXPECT_EQ(letters[0].device, "pump-7");
  EXPECT_EQ(letters[0].stream.value, 7U);
  EXPECT_EQ(letters[0].seq.value, 3U);
  EXPECT_EQ(letters[0].refused_unix_ms, clock.unix_ms());
  EXPECT_EQ(letters[0].target, "p/batches/0");
  EXPECT_EQ(letters[0].reason, "payload_format_invalid");
  EXPECT_EQ(letters[0].detail, "payload format invalid (0x99): the broker refuses our payloads; see its log");
  EXPECT_EQ(letters[0].payload, telemetry("pump-7", 3).payload) << "the frame as it arrived, to be sent again";
  EXPECT_EQ(probe.refusals[0x99].get(), 3U);
  EXPECT_TRUE(log.has("mqtt_dead_letter lane=main device=pump-7 stream=7 seq=3"));
}

TEST_F(ForwarderTest, PausesOnARefusalOfTheLaneAndLosesNothing) {
  make(RoutePayload::protobuf);
  push(1, 3);
  auto messages = take_all();
  EXPECT_NE(forwarder->refused(std::move(messages[0]), 0x87, clock.now()), "");
  EXPECT_TRUE(forwarder->paused());
  forwarder->refused(std::move(messages[1]), 0x87, clock.now());
  EXPECT_FALSE(forwarder->take(clock.now() + milliseconds(500))) << "one is still on its way";
  EXPECT_FALSE(forwarder->wake_at());
  forwarder->refused(std::move(messages[2]), 0x87, clock.now());
  EXPECT_EQ(forwarder->wake_at(), clock.now() + milliseconds(100));
  EXPECT_FALSE(forwarder->take(clock.now()));

  clock.passed += milliseconds(100);
  auto probe_message = forwarder->take(clock.now());
  ASSERT_TRUE(probe_message);
  EXPECT_EQ(seqs(*probe_message), Seqs{1});
  EXPECT_FALSE(forwarder->take(clock.now())) << "one at a time until the broker takes one";
  forwarder->acknowledged(*std::move(probe_message));
  EXPECT_FALSE(forwarder->paused());
  auto rest = take_all();
  ASSERT_EQ(rest.size(), 2U);
  EXPECT_EQ(seqs(rest[0]), Seqs{2});
  EXPECT_EQ(seqs(rest[1]), Seqs{3});
  EXPECT_TRUE(dead_letters.all().empty());
}

TEST_F(ForwarderTest, BuriesWhatHasNoTopicOrIsNotWhatItSays) {
  make(RoutePayload::json);
  feed.push(block_of({{"pump-7", "not a name", "", RecordKind::event}, {"pump-7", "", "\xff", RecordKind::telemetry}}));
  EXPECT_TRUE(take_all().empty());
  forwarder->report();
  EXPECT_EQ(feed.through(), 2U);
  EXPECT_EQ(feed.outcome().dead_lettered, 2U);
  const auto letters = dead_letters.all();
  ASSERT_EQ(letters.size(), 2U);
  EXPECT_EQ(letters[0].reason, "topic_name_invalid");
  EXPECT_EQ(letters[0].target, "");
  EXPECT_EQ(letters[0].name, "not a name");
  EXPECT_EQ(letters[1].reason, "payload_format_invalid");
  EXPECT_EQ(letters[1].target, "p/devices/pump-7/telemetry");
  EXPECT_EQ(letters[1].payload, "\xff");
}

// What the broker says of a single message, and whether it is that message's fault.
struct Puback {
  std::uint8_t reason;
  const char* letter;  // nullptr: the lane pauses and keeps the record
};

struct ForwarderRefused : ForwarderTest, testing::WithParamInterface<Puback> {};

TEST_P(ForwarderRefused, BuriesTheMessageOrPausesTheLaneAsTheReasonSays) {
  make(RoutePayload::protobuf);
  push(1, 2);
  auto messages = take_all();
  ASSERT_EQ(messages.size(), 2U);
  const std::string error = forwarder->refused(std::move(messages[0]), GetParam().reason, clock.now());
  forwarder->acknowledged(std::move(messages[1]));
  forwarder->report();
  if (GetParam().letter != nullptr) {
    EXPECT_EQ(error, "");
    EXPECT_FALSE(forwarder->paused());
    ASSERT_EQ(dead_letters.all().size(), 1U);
    EXPECT_EQ(dead_letters.all()[0].reason, GetParam().letter);
    EXPECT_EQ(dead_letters.all()[0].target, "p/devices/pump-7/telemetry");
    EXPECT_EQ(feed.through(), 2U);
    EXPECT_EQ(feed.outcome().forwarded, 1U);
    EXPECT_EQ(feed.outcome().dead_lettered, 1U);
    EXPECT_TRUE(forwarder->idle());
  } else {
    EXPECT_NE(error.find("the broker refused a message on p/devices/pump-7/telemetry"), std::string::npos) << error;
    EXPECT_TRUE(forwarder->paused());
    EXPECT_TRUE(log.has("mqtt_lane_paused lane=main"));
    EXPECT_TRUE(dead_letters.all().empty());
    EXPECT_EQ(feed.through(), 0U);
    clock.passed += milliseconds(100);
    auto again = forwarder->take(clock.now());
    ASSERT_TRUE(again);
    EXPECT_EQ(seqs(*again), Seqs{1});
    forwarder->acknowledged(*std::move(again));
    forwarder->report();
    EXPECT_EQ(feed.outcome().forwarded, 2U);
  }
  EXPECT_EQ(probe.refusals[GetParam().reason].get(), 1U);
}

std::string reason_in_hex(const testing::TestParamInfo<Puback>& puback) {
  static constexpr char k_hex[] = "0123456789ABCDEF";
  return {'x', k_hex[puback.param.reason >> 4], k_hex[puback.param.reason & 15]};
}

INSTANTIATE_TEST_SUITE_P(Contract, ForwarderRefused,
                         testing::Values(Puback{0x90, "topic_name_invalid"}, Puback{0x95, "packet_too_large"},
                                         Puback{0x99, "payload_format_invalid"}, Puback{0x80, nullptr},
                                         Puback{0x83, nullptr}, Puback{0x87, nullptr}, Puback{0x97, nullptr},
                                         Puback{0xFF, nullptr}),
                         reason_in_hex);

TEST_F(ForwarderTest, LeavesOutWhatTheLogSaysIsFilteredOrTooOld) {
  feed.decide = [](const RecordView& record) {
    if (record.seq.value % 3 == 0) return LaneFeed::Fate::filter;
    return record.seq.value % 3 == 1 ? LaneFeed::Fate::expire : LaneFeed::Fate::send;
  };
  make(RoutePayload::protobuf);
  push(1, 9);
  auto messages = take_all();
  Seqs sent;
  for (Message& message : messages) {
    sent.push_back(seqs(message).front());
    forwarder->acknowledged(std::move(message));
  }
  forwarder->report();
  EXPECT_EQ(sent, (Seqs{2, 5, 8}));
  EXPECT_EQ(feed.through(), 9U);
  EXPECT_EQ(feed.outcome().forwarded, 3U);
  EXPECT_EQ(feed.outcome().filtered, 3U);
  EXPECT_EQ(feed.outcome().expired, 3U);
}

TEST_F(ForwarderTest, ReadsOnThroughMoreFilteredBlocksThanItMayHold) {
  feed.decide = [this](const RecordView& record) {
    return record.seq.value == feed.last() ? LaneFeed::Fate::send : LaneFeed::Fate::filter;
  };
  make(RoutePayload::protobuf);
  const std::uint64_t blocks = Forwarder::k_ledger_blocks_max + 10;
  for (std::uint64_t i = 1; i <= blocks; ++i) push(i, 1);
  const auto messages = take_all();
  ASSERT_EQ(messages.size(), 1U) << "nobody would have woken it for the rest";
  EXPECT_EQ(seqs(messages[0]), Seqs{blocks});
}

TEST_F(ForwarderTest, BeginsNothingWhileItIsHeldAndConcludesWhatIsOnItsWay) {
  make(RoutePayload::protobuf);
  push(1, 2);
  auto messages = take_all();
  ASSERT_EQ(messages.size(), 2U);
  push(3, 2);
  forwarder->hold(true);
  EXPECT_FALSE(forwarder->take(clock.now()));
  forwarder->acknowledged(std::move(messages[0]));
  forwarder->acknowledged(std::move(messages[1]));
  forwarder->report();
  EXPECT_EQ(feed.through(), 2U);
  EXPECT_FALSE(forwarder->take(clock.now()));
  EXPECT_TRUE(forwarder->idle()) << "it holds nothing itself, whatever the log does";
  forwarder->hold(false);
  messages = take_all();
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(seqs(messages[0]), Seqs{3});
}

TEST_F(ForwarderTest, KeepsWhatComesBackWhileItIsHeld) {
  make(RoutePayload::batch);
  push(1, 2);
  forwarder->hurry();
  auto batch = forwarder->take(clock.now());
  ASSERT_TRUE(batch);
  forwarder->hold(true);
  // Halves, neither of which may leave; and a batch that lingers is no reason to wake up.
  forwarder->refused(*std::move(batch), 0x99, clock.now());
  EXPECT_FALSE(forwarder->take(clock.now()));
  EXPECT_FALSE(forwarder->wake_at());
  EXPECT_FALSE(forwarder->idle());
  forwarder->hold(false);
  const auto halves = take_all();
  ASSERT_EQ(halves.size(), 2U);
  EXPECT_EQ(seqs(halves[0]), Seqs{1});
  EXPECT_EQ(seqs(halves[1]), Seqs{2});
}

TEST_F(ForwarderTest, TriesAgainWhatTheLogMustFetchFirst) {
  make(RoutePayload::protobuf);
  push(1, 1);
  feed.fetching = true;
  EXPECT_FALSE(forwarder->take(clock.now()));
  feed.fetching = false;
  const auto message = forwarder->take(clock.now());
  ASSERT_TRUE(message);
  EXPECT_EQ(seqs(*message), Seqs{1});
}

TEST_F(ForwarderTest, PutsTheIdentityOfARecordIntoItsProperties) {
  make(RoutePayload::json);
  push(9, 1);
  const auto message = forwarder->take(clock.now());
  ASSERT_TRUE(message);
  EXPECT_EQ(message->format, PayloadFormat::json);
  const std::vector<std::pair<std::string_view, std::string>> expected = {
      {"device", "pump-7"}, {"stream", "7"}, {"seq", "9"}, {"received", "1700000000000"}};
  EXPECT_EQ(message->properties, expected);
}

}  // namespace
}  // namespace fieldgate::mqtt
