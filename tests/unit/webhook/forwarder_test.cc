// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/forwarder.h"

#include "fieldgate/v1/northbound.pb.h"
#include "tests/support/fake_dead_letters.h"
#include "tests/support/lane_fakes.h"
#include "tests/support/northbound_records.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace fieldgate::webhook {
namespace {

using std::chrono::milliseconds;
using test::block_of;
using test::OwnedRecord;
using test::telemetry;

// A forwarder, its log, and a target that answers on the spot.
struct ForwarderTest : testing::Test {
  void make(WebhookPayload payload = WebhookPayload::json, std::size_t lines = 1, std::size_t records_max = 500,
            std::size_t bytes_max = 262'144) {
    forwarder = std::make_unique<Forwarder>(Forwarder::Parts{payload, "gw-1", lines, records_max, bytes_max,
                                                             milliseconds(100), clock, log, probe, letters, "hook",
                                                             "boot-1.hook.", "https://h:443/in"});
    forwarder->attach(feed);
  }
  // `count` records, of `devices` devices in turn, in blocks of 64.
  void feed_records(std::size_t count, std::size_t devices = 3) {
    for (std::size_t done = 0; done < count;) {
      std::vector<OwnedRecord> records;
      for (; records.size() < 64 && done < count; ++done) {
        const std::string device = "dev-" + std::to_string(done % devices);
        records.push_back(telemetry(device, ++fed[device]));
      }
      feed.push(block_of(records));
    }
  }
  using Seen = std::pair<std::string, std::uint64_t>;  // device, seq
  static std::vector<Seen> records_of(const Batch& batch) {
    std::vector<Seen> seen;
    const auto body = boost::json::parse(*batch.body);
    for (const auto& record : body.at("records").as_array()) {
      seen.emplace_back(record.at("device").as_string(), record.at("seq").to_number<std::uint64_t>());
    }
    return seen;
  }
  // Sends all there is to a target that refuses a batch holding any of `poison`.
  void play(const std::set<Seen>& poison) {
    const auto offends = [&poison](const Seen& record) { return poison.contains(record); };
    forwarder->hurry();
    for (bool more = true; more;) {
      more = forwarder->fill();
      while (Batch* batch = forwarder->take(0)) {
        ++requests;
        more = true;
        const auto records = records_of(*batch);
        if (std::ranges::any_of(records, offends)) {
          forwarder->refused(0, {422, {}, {}, "no such metric\n"});
        } else {
          for (const auto& [device, seq] : records) arrived[device].push_back(seq);
          forwarder->accepted(0);
        }
        forwarder->report();
      }
    }
  }

  test::HandClock clock;
  test::TextLog log;
  WebhookLaneProbe probe;
  test::FakeDeadLetters letters;
  test::FakeFeed feed;
  std::map<std::string, std::uint64_t> fed;
  std::map<std::string, std::vector<std::uint64_t>> arrived;
  std::size_t requests = 0;
  std::unique_ptr<Forwarder> forwarder;
};

TEST_F(ForwarderTest, WritesAJsonBatchThatNamesTheNode) {
  make();
  feed.push(block_of({telemetry("pump-7", 1), telemetry("pump-8", 4)}));
  forwarder->hurry();
  forwarder->fill();
  const Batch* batch = forwarder->take(0);
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(*batch->body,
            R"({"node":"gw-1","records":[{"device":"pump-7","stream":"7","seq":1,"received_unix_ms":1700000000000,)"
            R"("telemetry":{"samples":[{"metrics":[{"name":"t","type":"double","value":1.5}]}]}},)"
            R"({"device":"pump-8","stream":"7","seq":4,"received_unix_ms":1700000000000,)"
            R"("telemetry":{"samples":[{"metrics":[{"name":"t","type":"double","value":1.5}]}]}}]})");
  EXPECT_EQ(batch->id, "boot-1.hook.1");
}

TEST_F(ForwarderTest, SaysWhosePresenceItIsInJson) {
  make();
  v1::PresenceEvent event;
  event.set_online(true);
  event.set_epoch(42);
  event.set_node("gw-1");
  event.set_boot_id("b1");
  event.set_unix_ms(17);
  feed.push(block_of({{"pump-7", "online", event.SerializeAsString(), RecordKind::presence, 0, 0}}));
  forwarder->hurry();
  forwarder->fill();
  EXPECT_EQ(*forwarder->take(0)->body,
            R"({"node":"gw-1","records":[{"device":"pump-7","received_unix_ms":1700000000000,)"
            R"("presence":{"online":true,"epoch":"42","node":"gw-1","boot_id":"b1","unix_ms":17}}]})");
}

TEST_F(ForwarderTest, WritesARecordBatchInProtobuf) {
  make(WebhookPayload::protobuf);
  const OwnedRecord record = telemetry("pump-7", 3);
  feed.push(block_of({record, telemetry("pump-8", 4)}));
  forwarder->hurry();
  forwarder->fill();
  v1::RecordBatch batch;
  ASSERT_TRUE(batch.ParseFromString(*forwarder->take(0)->body));
  EXPECT_EQ(batch.node(), "gw-1");
  ASSERT_EQ(batch.records_size(), 2);
  EXPECT_EQ(batch.records(0).device_id(), "pump-7");
  EXPECT_EQ(batch.records(0).frame().SerializeAsString(), record.payload);
}

TEST_F(ForwarderTest, WaitsForTheLingerUnlessABatchIsFull) {
  make(WebhookPayload::json, 1, 10);
  feed_records(9);
  forwarder->fill();
  EXPECT_EQ(forwarder->take(0), nullptr);
  EXPECT_EQ(forwarder->due(0), clock.now() + milliseconds(100));
  feed_records(1);
  forwarder->fill();
  ASSERT_NE(forwarder->take(0), nullptr);
  EXPECT_EQ(forwarder->take(0)->records.size(), 10U);
  forwarder->accepted(0);
  feed_records(1);
  forwarder->fill();
  EXPECT_EQ(forwarder->take(0), nullptr);
  clock.passed += milliseconds(100);
  ASSERT_NE(forwarder->take(0), nullptr);
}

TEST_F(ForwarderTest, ClosesABatchByBytesButSendsALargeRecordAlone) {
  for (const auto payload : {WebhookPayload::json, WebhookPayload::protobuf}) {
    test::FakeFeed own;
    make(payload, 1, 500, 1'024);
    forwarder->attach(own);
    const std::string metric(2'000, 'x');
    own.push(block_of({telemetry("a", 1, metric), telemetry("a", 2), telemetry("a", 3), telemetry("a", 4, metric)}));
    forwarder->hurry();
    forwarder->fill();
    std::vector<std::size_t> sizes;
    while (const Batch* batch = forwarder->take(0)) {
      sizes.push_back(batch->records.size());
      EXPECT_TRUE(sizes.back() == 1 || batch->body->size() <= 1'024U);
      forwarder->accepted(0);
    }
    EXPECT_EQ(sizes, (std::vector<std::size_t>{1, 2, 1}));
  }
}

TEST_F(ForwarderTest, KeepsABatchAsItIsUntilItIsConcluded) {
  make();
  feed_records(3);
  forwarder->hurry();
  forwarder->fill();
  const Batch* first = forwarder->take(0);
  const auto body = first->body;
  feed_records(3);
  forwarder->fill();
  const Batch* again = forwarder->take(0);
  EXPECT_EQ(again->id, "boot-1.hook.1");
  EXPECT_EQ(again->body, body);
  forwarder->report();
  EXPECT_EQ(feed.through(), 0U);
  forwarder->accepted(0);
  forwarder->report();
  EXPECT_EQ(feed.through(), 3U);
  EXPECT_EQ(feed.outcome().forwarded, 3U);
}

TEST_F(ForwarderTest, FindsASingleOffenderInAboutTwiceTheLogarithm) {
  make();
  feed_records(500);
  play({{"dev-1", 100}});
  EXPECT_LE(requests, 2U * 9 + 1);  // 2^9 > 500
  ASSERT_EQ(letters.all().size(), 1U);
  const DeadLetter letter = letters.all().front();
  EXPECT_EQ(letter.device, "dev-1");
  EXPECT_EQ(letter.seq.value, 100U);
  EXPECT_EQ(letter.lane, "hook");
  EXPECT_EQ(letter.reason, "http_422");
  EXPECT_EQ(letter.detail, "no such metric");
  EXPECT_EQ(letter.target, "https://h:443/in");
  EXPECT_EQ(letter.payload, telemetry("dev-1", 100).payload);
  EXPECT_EQ(feed.through(), 500U);
  EXPECT_EQ(feed.outcome().forwarded, 499U);
  EXPECT_EQ(feed.outcome().dead_lettered, 1U);
  for (const auto& [device, seqs] : arrived) EXPECT_TRUE(std::ranges::is_sorted(seqs)) << device;
}

TEST_F(ForwarderTest, CostsAtMostTwoRequestsARecordWhenAllAreRefused) {
  make();
  feed_records(500);
  std::set<Seen> all;
  for (const auto& [device, last] : fed) {
    for (std::uint64_t seq = 1; seq <= last; ++seq) all.emplace(device, seq);
  }
  play(all);
  EXPECT_EQ(requests, 999U);
  EXPECT_EQ(letters.all().size(), 500U);
  EXPECT_EQ(feed.through(), 500U);
  EXPECT_EQ(feed.outcome().dead_lettered, 500U);
  std::map<std::string, std::uint64_t> last;
  for (const DeadLetter& letter : letters.all()) EXPECT_EQ(letter.seq.value, ++last[letter.device]);
}

TEST_F(ForwarderTest, BuriesWhatCannotBeWrittenAsJson) {
  make();
  OwnedRecord broken = telemetry("a", 2);
  broken.payload = "no protobuf";
  feed.push(block_of({telemetry("a", 1), broken, telemetry("a", 3)}));
  play({});
  EXPECT_EQ(requests, 1U);
  ASSERT_EQ(letters.all().size(), 1U);
  EXPECT_EQ(letters.all().front().reason, "payload_format_invalid");
  EXPECT_EQ(arrived["a"], (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(feed.through(), 3U);
}

TEST_F(ForwarderTest, CompletesABlockNoneOfWhichCouldBeSent) {
  make();
  OwnedRecord broken = telemetry("a", 1);
  broken.payload = "no protobuf";
  feed.push(block_of({broken}));
  play({});
  forwarder->report();
  EXPECT_EQ(feed.through(), 1U);
  EXPECT_EQ(feed.outcome().dead_lettered, 1U);
}

TEST_F(ForwarderTest, CountsWhatTheFeedFiltersAndLetsExpireAlsoLater) {
  bool old = false;
  feed.decide = [&old](const RecordView& record) {
    if (record.device == "dev-1") return LaneFeed::Fate::filter;
    return old || record.device == "dev-2" ? LaneFeed::Fate::expire : LaneFeed::Fate::send;
  };
  make();
  feed_records(9);
  forwarder->fill();  // those of dev-0 linger
  old = true;
  play({});
  forwarder->report();
  EXPECT_EQ(requests, 0U);
  EXPECT_EQ(feed.through(), 9U);
  EXPECT_EQ(feed.outcome().filtered, 3U);
  EXPECT_EQ(feed.outcome().expired, 6U);
}

TEST_F(ForwarderTest, KeepsADeviceOnItsLineAndGoesOnBesideALineThatStandsStill) {
  make(WebhookPayload::json, 4, 50);
  feed_records(2'000, 40);
  forwarder->hurry();
  std::map<std::string, std::set<std::size_t>> lines;
  std::size_t done = 0;
  const Batch* stuck = nullptr;
  for (bool more = true; more;) {
    more = forwarder->fill();
    if (stuck == nullptr) stuck = forwarder->take(0);
    for (std::size_t line = 1; line < 4; ++line) {
      while (const Batch* batch = forwarder->take(line)) {
        more = true;
        for (const auto& [device, seq] : records_of(*batch)) {
          lines[device].insert(line);
          arrived[device].push_back(seq);
          ++done;
        }
        forwarder->accepted(line);
      }
    }
    forwarder->report();
  }
  ASSERT_NE(stuck, nullptr);
  std::size_t expected = 2'000;
  for (const auto& [device, last] : fed) {
    if (stable_hash(device) % 4 == 0) expected -= last;
  }
  EXPECT_LT(expected, 2'000U);
  EXPECT_EQ(done, expected);
  for (const auto& [device, on] : lines) EXPECT_EQ(on.size(), 1U) << device;
  for (const auto& [device, seqs] : arrived) EXPECT_TRUE(std::ranges::is_sorted(seqs)) << device;
}

TEST_F(ForwarderTest, StopsReadingAtTheBoundWhileALineStandsStill) {
  make(WebhookPayload::json, 2, 10);
  std::string other;
  for (int i = 0; other.empty(); ++i) {
    const std::string device = "d" + std::to_string(i);
    if (stable_hash(device) % 2 == 1) other = device;
  }
  std::string stuck;
  for (int i = 0; stuck.empty(); ++i) {
    const std::string device = "d" + std::to_string(i);
    if (stable_hash(device) % 2 == 0) stuck = device;
  }
  feed.push(block_of({telemetry(stuck, 1)}));
  const std::size_t blocks = Forwarder::k_ledger_blocks_max + 100;
  for (std::size_t i = 1; i <= blocks; ++i) feed.push(block_of({telemetry(other, i)}));
  forwarder->hurry();
  std::size_t done = 0;
  for (bool more = true; more;) {
    more = forwarder->fill();
    while (const Batch* batch = forwarder->take(1)) {
      done += batch->records.size();
      forwarder->accepted(1);
      more = true;
    }
    forwarder->report();
  }
  EXPECT_EQ(done, Forwarder::k_ledger_blocks_max - 1);
  ASSERT_NE(forwarder->take(0), nullptr);
  forwarder->accepted(0);
  forwarder->report();
  EXPECT_TRUE(forwarder->fill());
}

TEST_F(ForwarderTest, HeldGivesOutNothingNotEvenARetry) {
  make();
  feed_records(3);
  forwarder->hurry();
  forwarder->fill();
  ASSERT_NE(forwarder->take(0), nullptr);
  forwarder->hold(true);
  EXPECT_EQ(forwarder->take(0), nullptr);
  EXPECT_EQ(forwarder->due(0), std::nullopt);
  forwarder->hold(false);
  EXPECT_EQ(forwarder->take(0)->id, "boot-1.hook.1");
}

}  // namespace
}  // namespace fieldgate::webhook
