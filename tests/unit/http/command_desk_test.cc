// SPDX-License-Identifier: Apache-2.0
//
// Commands, twins, and what has happened: the parts of the API that answer for a store.
#include "adapters/http/command_desk.h"

#include "adapters/http/store_reply.h"
#include "tests/unit/http/api_fixture.h"

namespace fieldgate::http {
namespace {

class CommandDeskTest : public ApiFixture {
 protected:
  void SetUp() override {
    ApiFixture::SetUp();
    ask("PUT", "/api/v1/devices/pump-7", "{}");
  }
  Response command(std::string body, Headers headers = {}, std::string_view query = {}) {
    return ask("POST", "/api/v1/devices/pump-7/commands" + std::string(query), std::move(body), std::move(headers),
               "third");
  }
};

TEST_F(CommandDeskTest, TakesACommandAndSaysWhereToLook) {
  const Response taken =
      command(R"({"name":"set-speed","payload":{"rpm":900.0,"big":9007199254740993},"timeout":"10s","ttl":60})");
  EXPECT_EQ(taken.status, 202U) << taken.body;
  const auto body = json(taken);
  EXPECT_EQ(header(taken, "Location"), "/api/v1/commands/" + std::string(body.at("id").as_string()));
  EXPECT_EQ(body.at("state").as_string(), "queued");
  EXPECT_FALSE(body.at("final").as_bool());
  EXPECT_EQ(body.at("source").as_string(), "token:app");
  EXPECT_EQ(body.at("timeout_ms").to_number<int>(), 10'000);
  EXPECT_EQ(body.at("payload").at("big").to_number<std::int64_t>(), 9'007'199'254'740'993);
  EXPECT_EQ(body.at("payload_base64").as_string(), "eyJycG0iOjkwMCwiYmlnIjo5MDA3MTk5MjU0NzQwOTkzfQ==");
  EXPECT_TRUE(body.at("result").is_null());
  EXPECT_EQ(body.at("steps").as_array().size(), 1U);
}

TEST_F(CommandDeskTest, WaitsForTheEndAsLongAsItIsTold) {
  EXPECT_FALSE(send(make("POST", "/api/v1/devices/pump-7/commands?wait=10s", R"({"name":"go"})")).has_value());
  control.finish("c1000", CommandState::succeeded);
  loop->run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200U);
  EXPECT_EQ(json(*answer).at("result").at("payload").to_number<int>(), 42);
  EXPECT_EQ(json(*answer).at("result").at("text").as_string(), "done");

  control.patience_is_over = true;
  const Response late = command(R"({"name":"go"})", {}, "?wait=1s");
  EXPECT_EQ(late.status, 202U);
  EXPECT_EQ(json(late).at("state").as_string(), "queued");
}

TEST_F(CommandDeskTest, StillSaysWhatIsInTheLedgerWhenTheWaitingFails) {
  EXPECT_FALSE(send(make("POST", "/api/v1/devices/pump-7/commands?wait=60s", R"({"name":"go"})")).has_value());
  loop->let_time_pass();  // no answer at all
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 202U);
  EXPECT_EQ(json(*answer).at("id").as_string(), "c1000");
}

TEST_F(CommandDeskTest, HasPatienceForAsLongAsItWaits) {
  EXPECT_EQ(handler.patience(make("GET", "/api/v1/commands/c?wait=60s")), k_store_patience + std::chrono::seconds(60));
  EXPECT_EQ(handler.patience(make("GET", "/api/v1/commands/c?wait=7d")), k_store_patience + k_wait_max);
  EXPECT_EQ(handler.patience(make("GET", "/api/v1/commands/c?wait=x")), k_store_patience);
}

TEST_F(CommandDeskTest, RecognisesARepetitionByItsKey) {
  const Headers key = {{"idempotency-key", "order-17"}};
  const Response first = command(R"({"name":"go","payload":1})", key);
  const Response second = command(R"({"name":"go","payload":1})", key);
  EXPECT_EQ(json(first).at("id"), json(second).at("id"));
  EXPECT_EQ(header(first, "Idempotent-Replay"), "(none)");
  EXPECT_EQ(header(second, "Idempotent-Replay"), "true");
  EXPECT_EQ(problem(command(R"({"name":"go","payload":2})", key)), "/problems/idempotency-conflict");
  for (const std::string& bad : {std::string(), std::string("a b"), std::string("\xc3\xa4"), std::string(129, 'k')}) {
    EXPECT_EQ(problem(command(R"({"name":"go"})", {{"idempotency-key", bad}})), "/problems/invalid-header") << bad;
  }
}

TEST_F(CommandDeskTest, RefusesWhatIsNoCommandMemberByMember) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({})", "/name"},
      {R"({"name":""})", "/name"},
      {R"({"name":"a/b"})", "/name"},
      {R"({"name":"go","payload":1,"payload_base64":"AA=="})", "/payload_base64"},
      {R"({"name":"go","payload_base64":"A"})", "/payload_base64"},
      {R"({"name":"go","payload_base64":"_-8"})", "/payload_base64"},
      {R"({"name":"go","payload_base64":7})", "/payload_base64"},
      {R"({"name":"go","timeout":"1 s"})", "/timeout"},
      {R"({"name":"go","timeout":0})", "/timeout"},
      {R"({"name":"go","ttl":"-1s"})", "/ttl"},
      {R"({"name":"go","ttl":1e300})", "/ttl"},
      {R"({"name":"go","at_most_once":1})", "/at_most_once"},
      {R"({"name":"go","payload":[1e999]})", ""},
      {R"({"name":"go","retries":3})", "/retries"}};
  for (const auto& [body, pointer] : wrong) {
    const Response refused = command(body);
    EXPECT_EQ(problem(refused), "/problems/invalid-body") << body;
    ASSERT_FALSE(pointers(refused).empty()) << refused.body;
    EXPECT_EQ(pointers(refused)[0], pointer) << body;
  }
  for (const char* query : {"?wait=61s", "?wait=x", "?wait=1s&wait=1s", "?wait="}) {
    EXPECT_EQ(problem(command(R"({"name":"go"})", {}, query)), "/problems/invalid-parameter") << query;
  }
  EXPECT_EQ(problem(command(R"({"name":"go"})", {}, "?waits=1s")), "/problems/unknown-parameter");
}

TEST_F(CommandDeskTest, PassesOnWhyTheLedgerDoesNotTakeIt) {
  EXPECT_EQ(problem(ask("POST", "/api/v1/devices/nobody/commands", R"({"name":"go"})")), "/problems/device-not-found");
  EXPECT_EQ(problem(command(R"({"name":"go","payload":")" + std::string(20'000, 'x') + "\"}")),
            "/problems/body-too-large");
  control.room = 0;
  const Response full = command(R"({"name":"go"})");
  EXPECT_EQ(problem(full), "/problems/queue-full");
  EXPECT_EQ(full.status, 429U);
  EXPECT_EQ(header(full, "Retry-After"), "1");
}

TEST_F(CommandDeskTest, ListsTheNewestFirstPageByPage) {
  for (int i = 0; i < 5; ++i) command(R"({"name":"go"})");
  std::vector<std::string> ids;
  std::string query = "?limit=2";
  for (int pages = 0; pages < 4; ++pages) {
    const auto page = json(ask("GET", "/api/v1/devices/pump-7/commands" + query));
    for (const auto& one : page.at("commands").as_array()) ids.emplace_back(one.at("id").as_string());
    if (page.at("next_cursor").is_null()) break;
    query = "?limit=2&cursor=" + std::string(page.at("next_cursor").as_string());
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"c1004", "c1003", "c1002", "c1001", "c1000"}));
  ask("PUT", "/api/v1/devices/other", "{}");
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices/other/commands" + query)), "/problems/invalid-cursor");
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices/pump-7/commands?limit=101")), "/problems/invalid-parameter");
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices/nobody/commands")), "/problems/device-not-found");
  control.clear_commands();  // some time after their end
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices/pump-7/commands" + query)), "/problems/invalid-cursor");
}

TEST_F(CommandDeskTest, CancelsWhatHasNotEnded) {
  command(R"({"name":"go"})");
  command(R"({"name":"go"})");
  control.set_sent("c1001");
  const Response queued = ask("DELETE", "/api/v1/commands/c1000", "", {}, "third");
  EXPECT_EQ(queued.status, 200U);
  EXPECT_EQ(json(queued).at("state").as_string(), "cancelled");
  const Response sent = ask("DELETE", "/api/v1/commands/c1001", "", {}, "third");
  EXPECT_EQ(sent.status, 202U);
  EXPECT_TRUE(json(sent).at("cancel_wanted").as_bool());
  EXPECT_EQ(json(sent).at("steps").as_array().at(1).at("epoch").as_string(), "7");
  EXPECT_EQ(problem(ask("DELETE", "/api/v1/commands/c1000")), "/problems/command-ended");
  EXPECT_EQ(problem(ask("DELETE", "/api/v1/commands/c9")), "/problems/command-not-found");
  EXPECT_EQ(problem(ask("GET", "/api/v1/commands/c9")), "/problems/command-not-found");
  EXPECT_EQ(json(ask("GET", "/api/v1/commands/c1000")).at("state").as_string(), "cancelled");
}

TEST_F(CommandDeskTest, ShowsATwinAndWhatIsStillMissing) {
  Twin twin{*DeviceId::parse("pump-7")};
  twin.reported_json = R"({"interval":10,"mode":{"a":1,"b":2},"old":true})";
  twin.reported_version = 4;
  twin.desired_json = R"({"interval":30,"mode":{"a":1,"b":3}})";
  twin.desired_version = 2;
  twin.acknowledged_version = 2;
  twin.acknowledged_error = "no such mode";
  control.set_twin(twin);
  const Response shown = ask("GET", "/api/v1/devices/pump-7/twin", "", {}, "other");
  EXPECT_EQ(header(shown, "ETag"), "\"d2\"");
  const auto body = json(shown);
  EXPECT_EQ(boost::json::serialize(body.at("delta")), R"({"old":null,"interval":30,"mode":{"b":3}})");
  EXPECT_EQ(body.at("desired").at("etag").as_string(), "\"d2\"");
  EXPECT_EQ(body.at("acknowledged").at("error").as_string(), "no such mode");
  EXPECT_TRUE(body.at("reported").at("time").is_null());
}

TEST_F(CommandDeskTest, SetsWhatADeviceIsWishedToBecome) {
  const Response put = ask("PUT", "/api/v1/devices/pump-7/twin/desired", R"({ "interval": 30.5 })", {}, "third");
  EXPECT_EQ(put.status, 200U) << put.body;
  EXPECT_FALSE(control.patched);
  EXPECT_EQ(header(put, "ETag"), "\"d1\"");
  EXPECT_EQ(json(put).at("desired").at("document").at("interval").as_double(), 30.5);
  ask("PATCH", "/api/v1/devices/pump-7/twin/desired", R"({"interval":null})", {{"if-match", "\"d1\""}}, "third");
  EXPECT_TRUE(control.patched);
  EXPECT_EQ(problem(ask("PATCH", "/api/v1/devices/pump-7/twin/desired", "{}", {{"if-match", "\"d1\""}})),
            "/problems/precondition-failed");
  EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/pump-7/twin/desired", "[]")), "/problems/invalid-body");
  EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/nobody/twin/desired", "{}")), "/problems/device-not-found");
  EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/pump-7/twin/desired", "{}", {{"if-none-match", "*"}})),
            "/problems/invalid-header");
  EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/pump-7/twin/desired", R"({"a":")" + std::string(40'000, 'x') + "\"}")),
            "/problems/body-too-large");
  EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/pump-7/twin/desired", "{}", {}, "other")), "/problems/forbidden");
}

TEST_F(CommandDeskTest, TellsWhatHasHappenedPageByPage) {
  control.add_history(*DeviceId::parse("pump-7"), 5);
  const auto first = json(ask("GET", "/api/v1/devices/pump-7/timeline?limit=3"));
  EXPECT_EQ(first.at("entries").as_array().size(), 3U);
  EXPECT_EQ(first.at("entries").as_array().at(0).at("number").to_number<int>(), 5);
  EXPECT_EQ(first.at("entries").as_array().at(0).at("fields").at("reason").as_string(), "bye");
  const std::string cursor(first.at("next_cursor").as_string());
  const auto second = json(ask("GET", "/api/v1/devices/pump-7/timeline?limit=3&cursor=" + cursor));
  EXPECT_EQ(second.at("entries").as_array().at(0).at("number").to_number<int>(), 2);
  EXPECT_TRUE(second.at("next_cursor").is_null());
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices/pump-7/presence?cursor=" + cursor)), "/problems/invalid-cursor");

  const auto events = json(ask("GET", "/api/v1/devices/pump-7/presence?limit=2"));
  EXPECT_EQ(events.at("events").as_array().at(0).at("number").to_number<int>(), 5);
  EXPECT_TRUE(events.at("events").as_array().at(0).at("reason").is_null());
  const std::string older(events.at("next_cursor").as_string());
  const auto rest = json(ask("GET", "/api/v1/devices/pump-7/presence?limit=3&cursor=" + older));
  EXPECT_EQ(rest.at("events").as_array().at(0).at("number").to_number<int>(), 3);
  EXPECT_TRUE(rest.at("next_cursor").is_null());

  const auto refusals = json(ask("GET", "/api/v1/refusals?limit=1"));
  EXPECT_EQ(refusals.at("refusals").as_array().at(0).at("detail").as_string(), "token: not known\xef\xbf\xbd");
  EXPECT_EQ(problem(ask("GET", "/api/v1/refusals?limit=0")), "/problems/invalid-parameter");
  for (const char* list : {"timeline", "presence"}) {
    EXPECT_EQ(problem(ask("GET", "/api/v1/devices/nobody/" + std::string(list))), "/problems/device-not-found");
    EXPECT_EQ(problem(ask("GET", "/api/v1/devices/pump-7/" + std::string(list) + "?count=true")),
              "/problems/unknown-parameter");
  }
}

TEST_F(CommandDeskTest, TellsOfTheNodesThatTheStoreKnows) {
  const auto nodes = json(ask("GET", "/api/v1/nodes"));
  EXPECT_EQ(nodes.at("known").as_array().size(), 2U);
  EXPECT_FALSE(nodes.at("known").as_array().at(1).at("live").as_bool());
  control.fail(make_error(Errc::unavailable, "gone"));
  const auto alone = json(ask("GET", "/api/v1/nodes"));
  EXPECT_TRUE(alone.at("known").is_null());
  EXPECT_EQ(alone.at("nodes").as_array().size(), 1U);
}

}  // namespace
}  // namespace fieldgate::http
