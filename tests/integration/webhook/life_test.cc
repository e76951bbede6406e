// SPDX-License-Identifier: Apache-2.0
// A lane's life: targets that go and come, pauses, stopping, names, addresses, secrets.
#include "tests/integration/webhook/lane_fixture.h"

#include "gateway/core/mutex.h"
#include "tests/support/temp_dir.h"

#include <deque>
#include <utility>

namespace fieldgate::webhook {
namespace {

// Answers as it was told, in turn; the last answer stays. Any thread.
class ScriptedNames final : public NameSource {
 public:
  explicit ScriptedNames(std::deque<Result<Addresses>> answers) : answers_(std::move(answers)) {}
  Result<Addresses> look_up(const std::string&) override {
    const MutexLock lock(mutex_);
    Result<Addresses> answer = answers_.front();
    if (answers_.size() > 1) answers_.pop_front();
    return answer;
  }

 private:
  Mutex mutex_;
  std::deque<Result<Addresses>> answers_ GUARDED_BY(mutex_);
};

Result<Addresses> at(const char* address) { return Addresses{boost::asio::ip::make_address(address)}; }

using WebhookLife = LaneFixture;

TEST_F(WebhookLife, OutlivesATargetThatIsDownAndComesBack) {
  TargetProcess target;
  start(settings(target.port()));
  feed_telemetry(5, 50);
  expect_nothing_lost(target);
  for (int round = 0; round < 3; ++round) {
    target.tell("down");
    feed_telemetry(5, 50);
    EXPECT_TRUE(reaches(LaneState::backing_off));
    EXPECT_TRUE(complains("cannot connect: 127.0.0.1 port"));
    target.tell("up");
    expect_nothing_lost(target);
    EXPECT_TRUE(reaches(LaneState::running));
  }
  EXPECT_GT(probe.connect_failures.get(), 0U);
}

TEST_F(WebhookLife, TriesAFreshConnectionAtOnceWhenTheKeptOneIsGone) {
  TargetProcess target;
  auto with = settings(target.port());
  with.connections = 1;
  start(with);
  for (int round = 0; round < 20; ++round) {
    feed_telemetry(1, 1);
    ASSERT_TRUE(feed.wait_done(k_patience));
    target.tell("cut");
  }
  expect_nothing_lost(target);
  EXPECT_FALSE(log.has("webhook_failed"));
}

TEST_F(WebhookLife, SendsNothingWhileItIsHeld) {
  TargetProcess target;
  lane = make_webhook_lane(settings(target.port()), {"gw-1", "boot-1"}, clock, log, probe, letters).value();
  lane->hold(true);
  feed_telemetry(3, 10);
  lane->start(feed);
  EXPECT_TRUE(reaches(LaneState::running));
  feed_telemetry(3, 10);
  lane->stop(k_patience);  // what it may do, it has done then
  EXPECT_EQ(target.counts().requests, 0U);
  EXPECT_EQ(feed.through(), 0U);
}

TEST_F(WebhookLife, GoesOnWhereItWasOnceItIsHeldNoMore) {
  TargetProcess target;
  start(settings(target.port()));
  for (int round = 0; round < 5; ++round) {
    feed_telemetry(3, 10);
    lane->hold(true);
    feed_telemetry(3, 10);
    lane->hold(false);
    expect_nothing_lost(target);
  }
}

TEST_F(WebhookLife, FinishesWhatIsUnderWayWhenItStops) {
  TargetProcess target;
  auto with = settings(target.port());
  with.batch_linger = seconds(60);
  start(with);
  EXPECT_TRUE(reaches(LaneState::running));
  target.behave(R"({"delay": 0.3})");
  feed_telemetry(4, 10);
  lane->stop(k_patience);
  EXPECT_EQ(status().state, LaneState::stopped);
  expect_nothing_lost(target);
}

TEST_F(WebhookLife, LeavesInTheLogWhatIsNotAnsweredWhenItStops) {
  TargetProcess target;
  start(settings(target.port()));
  target.behave(R"({"do": "hang"})");
  feed_telemetry(4, 10);
  EXPECT_TRUE(eventually([this] { return probe.in_flight.get() > 0; }));
  const auto before = std::chrono::steady_clock::now();
  lane->stop(milliseconds(200));
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds(20));
  EXPECT_EQ(feed.through(), 0U);
  EXPECT_EQ(feed.outcome().forwarded, 0U);
}

TEST_F(WebhookLife, DoesNotWaitOutABackOffWhenItStops) {
  auto with = settings(1);  // nobody listens there
  with.backoff_min = with.backoff_max = std::chrono::hours(1);
  start(with);
  feed_telemetry(1, 1);
  EXPECT_TRUE(reaches(LaneState::backing_off));
  lane->stop(std::chrono::hours(1));
  EXPECT_EQ(feed.through(), 0U);
}

TEST_F(WebhookLife, RefusesATargetInARangeThatIsNotAllowed) {
  TargetProcess target;
  auto with = settings(target.port());
  with.allowed_networks.clear();
  start(with);
  feed_telemetry(1, 1);
  EXPECT_TRUE(complains("127.0.0.1 (loopback), which webhooks may not reach"));
  EXPECT_TRUE(reaches(LaneState::backing_off));
  lane->stop(milliseconds(0));
  EXPECT_EQ(target.counts().connections, 0U);
  EXPECT_EQ(feed.through(), 0U);
}

// The name first leads to where it may, then, for the next connection, to what only
// the gateway can reach: on the same port, so that a look-up more would show.
TEST_F(WebhookLife, DoesNotConnectToANameThatIsRebound) {
  TargetProcess inside({"--address", "127.0.0.1"});
  TargetProcess outside({"--address", "127.0.0.2", "--port", std::to_string(inside.port())});
  auto with = settings(outside.port());
  with.url = "http://rebound.example:" + std::to_string(outside.port()) + "/";
  with.allowed_networks = {"127.0.0.2/32"};
  with.connections = 1;
  outside.behave(R"({"do": "last"})");
  start(with, std::make_shared<ScriptedNames>(std::deque<Result<Addresses>>{at("127.0.0.2"), at("127.0.0.1")}));
  feed_telemetry(1, 1);
  ASSERT_TRUE(feed.wait_done(k_patience));
  EXPECT_EQ(outside.counts().requests, 1U);
  feed_telemetry(1, 1);
  EXPECT_TRUE(complains("rebound.example is at 127.0.0.1 (loopback)"));
  EXPECT_TRUE(eventually([this] { return probe.connect_failures.get() >= 3; }));
  EXPECT_EQ(inside.counts().connections, 0U);
  EXPECT_EQ(outside.counts().connections, 1U);
  EXPECT_EQ(feed.through(), 1U);
}

TEST_F(WebhookLife, TriesTheNextAddressAndKeepsTheLastGoodOnes) {
  TargetProcess target({"--address", "127.0.0.2"});
  auto with = settings(target.port());
  with.url = "http://moves.example:" + std::to_string(target.port()) + "/";
  Addresses both = {boost::asio::ip::make_address("127.0.0.3"), boost::asio::ip::make_address("127.0.0.2")};
  start(with, std::make_shared<ScriptedNames>(std::deque<Result<Addresses>>{
                  both, make_error(Errc::unavailable, "Temporary failure in name resolution")}));
  target.behave(R"({"do": "last", "times": 5})");
  for (int round = 0; round < 6; ++round) {
    feed_telemetry(1, 1);
    expect_nothing_lost(target);
  }
  EXPECT_TRUE(log.has("webhook_look_up_failed"));
}

TEST_F(WebhookLife, ShowsNoSecretInItsStatusOrTheLog) {
  TargetProcess target;
  auto with = settings(target.port());
  with.headers = {{"Authorization", {"Bearer of-the-header"}}};
  start(with);
  for (const char* behaviour :
       {R"({"status": 401, "times": 2})", R"({"do": "close", "times": 2})", R"({"status": 404, "times": 9})"}) {
    target.behave(behaviour);
    feed_telemetry(1, 5);
    ASSERT_TRUE(feed.wait_done(k_patience));
  }
  ASSERT_FALSE(letters.all().empty());
  const std::string all = log.all() + status().destination + status().last_error + letters.all().front().target;
  for (const char* secret : {"of-the-header", "the-key-of-the-signature", "in-the-query"}) {
    EXPECT_EQ(all.find(secret), std::string::npos) << secret;
  }
  EXPECT_EQ(status().destination, "http://127.0.0.1:" + std::to_string(target.port()) + "/in");
  EXPECT_EQ(status().type, "webhook");
  EXPECT_TRUE(status().required);
}

TEST_F(WebhookLife, NamesWhatIsWrongWithItsSettings) {
  const test::TempDir dir;
  const auto error = [this](const std::function<void(WebhookLaneSettings&)>& change) {
    auto with = settings(9);
    change(with);
    const auto made = make_webhook_lane(std::move(with), {"gw-1", "boot-1"}, clock, log, probe, letters);
    return made ? std::string("none") : made.error().detail;
  };
  const auto expect = [&error](const char* part, const std::function<void(WebhookLaneSettings&)>& change) {
    EXPECT_NE(error(change).find(part), std::string::npos) << error(change);
  };
  EXPECT_EQ(error([](auto&) {}), "none");
  expect("url must begin with http", [](auto& s) { s.url = "ftp://h/"; });
  expect("allowed_networks: here", [](auto& s) { s.allowed_networks = {"here"}; });
  expect("retry_statuses: 500", [](auto& s) { s.retry_statuses = {"500"}; });
  expect("headers: X A", [](auto& s) { s.headers = {{"X A", {"v"}}}; });
  expect("/none cannot be read", [&dir](auto& s) {
    s.secret.value.clear();
    s.secret_file = dir.file("none");
  });
  expect("must have the key as its first line", [&dir](auto& s) {
    s.secret.value.clear();
    s.secret_file = dir.write("empty", "\nkey\n");
  });
  expect("secret and secret_file are both set", [&dir](auto& s) { s.secret_file = dir.write("key", "key\n"); });
  expect("ca_file /nowhere/ca.pem cannot be read", [](auto& s) {
    s.url = "https://localhost/";
    s.ca_file = "/nowhere/ca.pem";
  });
  expect("certificate_file and key_file go together", [&dir](auto& s) {
    s.url = "https://localhost/";
    s.key_file = dir.write("key.pem", "x");
  });
}

}  // namespace
}  // namespace fieldgate::webhook
