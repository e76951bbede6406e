// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/webhook/lane_fixture.h"

#include "tests/support/northbound_records.h"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

namespace fieldgate::webhook {
namespace {

// What the target does with a request that counts as taken if its status is 2xx.
const std::set<std::string, std::less<>> k_takes = {"answer", "interim", "chunked",   "until_close", "last",
                                                    "forget", "chatter", "huge_body", "endless"};

bool taken(const boost::json::object& request) {
  const auto status = request.at("status").to_number<int>();
  return status / 100 == 2 && k_takes.contains(std::string(request.at("did").as_string()));
}

}  // namespace

bool eventually(const std::function<bool()>& condition, milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

WebhookLaneSettings LaneFixture::settings(std::uint16_t port) {
  WebhookLaneSettings settings;
  settings.name = "hook";
  settings.required = true;
  settings.url = "http://127.0.0.1:" + std::to_string(port) + "/in?token=in-the-query";
  settings.secret.value = "the-key-of-the-signature";
  settings.allowed_networks = {"127.0.0.0/8"};
  settings.backoff_min = milliseconds(10);
  settings.backoff_max = milliseconds(100);
  settings.batch_linger = milliseconds(5);
  return settings;
}

void LaneFixture::start(WebhookLaneSettings with, std::shared_ptr<NameSource> names) {
  lane = make_webhook_lane(std::move(with), {"gw-1", "boot-1"}, clock, log, probe, letters, std::move(names)).value();
  lane->start(feed);
}

void LaneFixture::feed_telemetry(std::size_t devices, std::size_t count, std::size_t payload_bytes) {
  for (std::size_t round = 0; round < count; ++round) {
    std::vector<test::OwnedRecord> records;
    for (std::size_t i = 0; i < devices; ++i) {
      const std::string device = "dev-" + std::to_string(i);
      records.push_back(test::telemetry(device, ++fed[device], std::string(payload_bytes, 'm')));
    }
    feed.push(test::block_of(records));
  }
  lane->notify();
}

std::uint64_t LaneFixture::fed_records() const {
  std::uint64_t sum = 0;
  for (const auto& [device, last] : fed) sum += last;
  return sum;
}

void LaneFixture::expect_nothing_lost(const TargetProcess& target) const {
  ASSERT_TRUE(feed.wait_done(k_patience)) << log.all();
  const LaneOutcome sum = feed.outcome();
  EXPECT_EQ(sum.forwarded + sum.dead_lettered, fed_records());
  EXPECT_EQ(sum.filtered + sum.expired, 0U);
  EXPECT_EQ(sum.dead_lettered, letters.all().size());
  EXPECT_EQ(sum.forwarded, probe.batch_records.get());

  std::set<std::pair<std::string, std::uint64_t>> buried;
  for (const DeadLetter& letter : letters.all()) buried.emplace(letter.device, letter.seq.value);
  std::map<std::string, std::set<std::uint64_t>> arrived;
  for (const auto& request : target.got()) {
    if (!taken(request)) continue;
    const auto body = boost::json::parse(request.at("body").as_string());
    for (const auto& record : body.at("records").as_array()) {
      const std::string device(record.at("device").as_string());
      const auto seq = record.at("seq").to_number<std::uint64_t>();
      auto& seqs = arrived[device];
      if (!seqs.insert(seq).second) continue;  // a duplicate
      EXPECT_EQ(seq, *seqs.rbegin()) << device << ": it came after what was sent after it";
    }
  }
  std::size_t lost = 0;
  for (const auto& [device, last] : fed) {
    for (std::uint64_t seq = 1; seq <= last; ++seq) {
      if (!arrived[device].contains(seq) && !buried.contains({device, seq})) ++lost;
    }
  }
  EXPECT_EQ(lost, 0U);
}

}  // namespace fieldgate::webhook
