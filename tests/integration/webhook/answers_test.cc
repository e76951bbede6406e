// SPDX-License-Identifier: Apache-2.0
// What each answer, and each failure to answer, causes.
#include "tests/integration/webhook/lane_fixture.h"

#include <set>

namespace fieldgate::webhook {
namespace {

struct WebhookAnswers : LaneFixture {
  // Forwards, with the target doing `behaviour` to the first requests, then well.
  void expect_survives(const std::string& behaviour) {
    SCOPED_TRACE(behaviour);
    target.behave(behaviour);
    feed_telemetry(3, 20);
    expect_nothing_lost(target);
    EXPECT_TRUE(letters.all().empty());
    EXPECT_TRUE(reaches(LaneState::running));
  }

  TargetProcess target;
};

std::string header(const boost::json::object& request, const char* name) {
  const auto& headers = request.at("headers").as_object();
  return headers.contains(name) ? std::string(headers.at(name).as_string()) : std::string();
}

TEST_F(WebhookAnswers, ForwardsInOrderOverConnectionsThatAreKept) {
  start(settings(target.port()));
  feed_telemetry(20, 300);
  expect_nothing_lost(target);
  EXPECT_EQ(feed.outcome().forwarded, 6'000U);
  const auto counts = target.counts();
  EXPECT_GE(counts.requests, 12U);  // at most 500 records each
  EXPECT_EQ(counts.connections, 2U);
  EXPECT_EQ(probe.connects.get(), 2U);
  EXPECT_EQ(outcome(WebhookOutcome::accepted), counts.requests);
  EXPECT_EQ(probe.responses[1].get(), counts.requests);
  EXPECT_EQ(probe.retries.get(), 0U);
  std::set<std::string> ids;
  for (const auto& request : target.got()) {
    ids.insert(header(request, "fieldgate-batch-id"));
    EXPECT_EQ(header(request, "idempotency-key"), header(request, "fieldgate-batch-id"));
    EXPECT_EQ(header(request, "fieldgate-attempt"), "1");
    EXPECT_EQ(header(request, "fieldgate-node"), "gw-1");
    EXPECT_EQ(header(request, "content-type"), "application/json");
    EXPECT_EQ(request.at("path").as_string(), "/in?token=in-the-query");
  }
  EXPECT_EQ(ids.size(), counts.requests);
}

TEST_F(WebhookAnswers, RunsBeforeThereIsAnythingToSend) {
  start(settings(target.port()));
  EXPECT_TRUE(reaches(LaneState::running));
  EXPECT_EQ(target.counts().requests, 0U);
}

TEST_F(WebhookAnswers, RepeatsTheSameBatchAfterServerErrors) {
  auto with = settings(target.port());
  with.connections = 1;
  start(with);
  target.behave(R"({"status": 500, "body": "database is down\n", "times": 3})");
  feed_telemetry(2, 5);
  EXPECT_TRUE(complains("the target answered 500 (database is down)"));
  expect_nothing_lost(target);
  const auto got = target.got();
  ASSERT_GE(got.size(), 4U);
  std::set<std::string> stamps;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(header(got[i], "fieldgate-batch-id"), header(got[0], "fieldgate-batch-id"));
    EXPECT_EQ(header(got[i], "fieldgate-attempt"), std::to_string(i + 1));
    EXPECT_EQ(got[i].at("body"), got[0].at("body"));
  }
  EXPECT_EQ(outcome(WebhookOutcome::server_error), 3U);
  EXPECT_EQ(probe.retries.get(), 3U);
}

TEST_F(WebhookAnswers, WaitsAsLongAsRetryAfterAsks) {
  auto with = settings(target.port());
  with.backoff_max = seconds(30);
  start(with);
  target.behave(R"({"status": 429, "headers": {"Retry-After": "1"}, "times": 1})");
  feed_telemetry(8, 5);
  EXPECT_TRUE(reaches(LaneState::backing_off));
  expect_nothing_lost(target);
  const auto got = target.got();
  const auto first =
      std::ranges::find(got, 429, [](const auto& r) { return r.at("status").template to_number<int>(); });
  ASSERT_NE(first, got.end());
  // The other line may have had a request under way just then.
  const auto next = std::find_if(first + 1, got.end(), [&first](const auto& request) {
    return header(request, "fieldgate-batch-id") == header(*first, "fieldgate-batch-id");
  });
  ASSERT_NE(next, got.end());
  EXPECT_GE(next->at("at").to_number<double>() - first->at("at").to_number<double>(), 0.99);
  EXPECT_EQ(outcome(WebhookOutcome::throttled), 1U);
}

TEST_F(WebhookAnswers, CapsRetryAfterAtTheLongestBackOff) {
  start(settings(target.port()));
  target.behave(R"({"status": 503, "headers": {"Retry-After": "86400"}, "times": 2})");
  feed_telemetry(4, 5);
  expect_nothing_lost(target);
  EXPECT_EQ(outcome(WebhookOutcome::throttled), 2U);
}

TEST_F(WebhookAnswers, PausesAndSaysWhatToDoWhenItIsNotLetIn) {
  start(settings(target.port()));
  for (const char* status : {"401", "403"}) {
    target.behave(std::string(R"({"status": )") + status + "}");
    feed_telemetry(3, 5);
    EXPECT_TRUE(reaches(LaneState::paused));
    EXPECT_TRUE(complains(std::string("answered ") + status + ": check the credentials in headers"));
    target.behave("{}");
    expect_nothing_lost(target);
    EXPECT_TRUE(reaches(LaneState::running));
  }
  EXPECT_TRUE(letters.all().empty());
}

TEST_F(WebhookAnswers, DoesNotFollowRedirects) {
  TargetProcess elsewhere;
  start(settings(target.port()));
  const std::string location = "http://127.0.0.1:" + std::to_string(elsewhere.port()) + "/other";
  for (const char* status : {"301", "302", "307", "308"}) {
    target.behave(std::string(R"({"status": )") + status + R"(, "headers": {"Location": ")" + location + "\"}}");
    feed_telemetry(3, 5);
    EXPECT_TRUE(reaches(LaneState::paused));
    EXPECT_TRUE(complains(std::string("redirects (") + status + ") to " + location));
    target.behave("{}");
    expect_nothing_lost(target);
  }
  EXPECT_EQ(elsewhere.counts().connections, 0U);
  EXPECT_GT(outcome(WebhookOutcome::redirected), 0U);
}

TEST_F(WebhookAnswers, DeadLettersTheOneRecordThatIsRefused) {
  start(settings(target.port()));
  target.behave(R"({"match": "\"device\":\"dev-1\",\"stream\":\"7\",\"seq\":33,", "status": 422,
                    "body": "{\"error\":\"no such metric\"}"})");
  feed_telemetry(4, 60);
  expect_nothing_lost(target);
  ASSERT_EQ(letters.all().size(), 1U);
  const DeadLetter letter = letters.all().front();
  EXPECT_EQ(letter.device, "dev-1");
  EXPECT_EQ(letter.seq.value, 33U);
  EXPECT_EQ(letter.reason, "http_422");
  EXPECT_EQ(letter.detail, "{\"error\":\"no such metric\"}");
  EXPECT_EQ(letter.target, "http://127.0.0.1:" + std::to_string(target.port()) + "/in");
  EXPECT_TRUE(reaches(LaneState::running));
}

TEST_F(WebhookAnswers, DeadLettersAllThatIsRefusedAtABoundedPrice) {
  auto with = settings(target.port());
  with.connections = 1;
  start(with);
  target.behave(R"({"status": 404})");
  feed_telemetry(10, 20);
  expect_nothing_lost(target);
  EXPECT_EQ(feed.outcome().dead_lettered, 200U);
  EXPECT_LE(target.counts().requests, 2U * 200);
}

TEST_F(WebhookAnswers, RetriesAStatusThatTheOperatorLists) {
  auto with = settings(target.port());
  with.retry_statuses = {"404"};
  start(with);
  target.behave(R"({"status": 404, "times": 3})");
  feed_telemetry(3, 5);
  expect_nothing_lost(target);
  EXPECT_TRUE(letters.all().empty());
  EXPECT_EQ(outcome(WebhookOutcome::denied), 3U);
}

TEST_F(WebhookAnswers, SurvivesEveryWayNotToAnswer) {
  start(settings(target.port()));
  for (const char* how : {"close", "reset", "half", "short", "garbage", "huge_head"}) {
    expect_survives(std::string(R"({"do": ")") + how + R"(", "times": 3})");
  }
  EXPECT_GE(outcome(WebhookOutcome::broken), 18U);
}

TEST_F(WebhookAnswers, TakesEveryProperFormOfAnAnswer) {
  start(settings(target.port()));
  for (const char* how : {"interim", "chunked", "until_close", "last", "forget", "chatter"}) {
    expect_survives(std::string(R"({"do": ")") + how + R"(", "body": "thanks", "times": 10})");
  }
  EXPECT_EQ(outcome(WebhookOutcome::timed_out), 0U);
  EXPECT_GT(probe.responses[0].get(), 0U);
}

TEST_F(WebhookAnswers, CountsAnAnswerWithAHugeBodyByItsStatus) {
  start(settings(target.port()));
  expect_survives(R"({"do": "huge_body", "times": 4})");
  expect_survives(R"({"do": "endless", "times": 4})");
  EXPECT_EQ(outcome(WebhookOutcome::broken), 0U);
  expect_survives(R"({"do": "endless", "status": 500, "times": 4})");
  EXPECT_EQ(outcome(WebhookOutcome::server_error), 4U);
}

TEST_F(WebhookAnswers, GivesUpOnATargetThatHangsOrDrips) {
  auto with = settings(target.port());
  with.request_timeout = seconds(1);
  start(with);
  target.behave(R"({"do": "hang"})");
  feed_telemetry(3, 5);
  EXPECT_TRUE(complains("no whole answer in time"));
  target.behave(R"({"do": "drip"})");
  const auto before = outcome(WebhookOutcome::timed_out);
  EXPECT_TRUE(eventually([&] { return outcome(WebhookOutcome::timed_out) >= before + 4; }));
  target.behave("{}");
  expect_nothing_lost(target);
}

TEST_F(WebhookAnswers, TakesARefusalButNoThanksBeforeTheWholeRequestIsSent) {
  auto with = settings(target.port());
  with.connections = 1;
  with.batch_bytes_max = 32 << 20;
  with.batch_linger = milliseconds(0);
  start(with);
  EXPECT_TRUE(reaches(LaneState::running));
  // More than the sockets' buffers take.
  target.behave(R"({"do": "early", "status": 200})");
  feed_telemetry(1, 1, 16 << 20);
  EXPECT_TRUE(complains("answered before it had the whole request"));
  EXPECT_EQ(feed.through(), 0U);
  target.behave(R"({"do": "early", "status": 413})");
  EXPECT_TRUE(feed.wait_done(k_patience));
  ASSERT_EQ(letters.all().size(), 1U);
  EXPECT_EQ(letters.all().front().reason, "http_413");
}

TEST_F(WebhookAnswers, LetsALineThatStandsStillStopNoOther) {
  auto with = settings(target.port());
  with.connections = 4;
  with.batch_records_max = 20;
  start(with);
  target.behave(R"({"match": "\"dev-3\"", "do": "hang"})");
  feed_telemetry(40, 100);
  std::uint64_t others = 0;
  const auto line = [](const std::string& device) { return stable_hash(device) % 4; };
  for (const auto& [device, last] : fed) others += line(device) == line("dev-3") ? 0 : last;
  ASSERT_GT(others, 0U);
  EXPECT_TRUE(eventually([&] { return probe.batch_records.get() >= others; })) << probe.batch_records.get();
  EXPECT_TRUE(eventually([this] { return probe.in_flight.get() == 1; }));
  target.behave("{}");
  target.tell("cut");
  expect_nothing_lost(target);
}

}  // namespace
}  // namespace fieldgate::webhook
