// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/api_handler.h"

#include "adapters/http/list_query.h"
#include "adapters/http/request_gate.h"
#include "tests/support/http_fakes.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <algorithm>
#include <deque>
#include <fstream>
#include <iterator>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;

// Runs what is posted when told to; timers when time is told to pass.
class ManualLoop final : public Loop {
 public:
  void post(std::function<void()> fn) override { ready_.push_back(std::move(fn)); }
  void after(std::chrono::milliseconds, std::function<void()> fn) override { timers_.push_back(std::move(fn)); }

  void run() {
    for (; !ready_.empty(); ready_.pop_front()) ready_.front()();
  }
  void let_time_pass() {
    for (const auto& fn : std::exchange(timers_, {})) fn();
  }

 private:
  std::deque<std::function<void()>> ready_;
  std::vector<std::function<void()>> timers_;
};

class ApiHandlerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto table = TokenTable::parse("ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "t");
    ASSERT_TRUE(table.has_value());
    handler.set_access(std::make_shared<const Access>(std::move(*table)));
    handler.apply({{online_summary(), offline_summary()}});
    live.put(online_detail());
  }

  Request request(std::string_view target, std::string_view method = "GET", std::string_view token = "secret") {
    Request r;
    r.head.method = method;
    r.head.target = target;
    if (!token.empty()) r.head.headers.emplace_back("authorization", "Bearer " + std::string(token));
    r.target = *parse_target(target);
    r.id = "cafe0000-1";
    return r;
  }

  // The answer, if there is one by now.
  std::optional<Response>& send(const Request& r) {
    answer.reset();
    handler.handle(r, [this](Response response) {
      EXPECT_FALSE(answer.has_value()) << "answered twice";
      answer = std::move(response);
    });
    loop->run();
    return answer;
  }

  Response get(std::string_view target) {
    send(request(target));
    EXPECT_TRUE(answer.has_value()) << target;
    return answer.value_or(Response{});
  }

  boost::json::object json(const Response& response) { return boost::json::parse(response.body).as_object(); }

  std::string problem(std::string_view target) {
    const Response response = get(target);
    EXPECT_EQ(response.content_type, "application/problem+json") << target;
    const auto body = json(response);
    EXPECT_EQ(body.at("status").to_number<unsigned>(), response.status);
    EXPECT_EQ(body.at("instance").as_string(), "urn:fieldgate:request:cafe0000-1");
    return std::string(body.at("type").as_string());
  }

  std::shared_ptr<ManualLoop> loop = std::make_shared<ManualLoop>();
  FakeLiveDevices live;
  FakeNodeStatus status;
  FakeClock clock;
  SilentLog log;
  FakeLaneControl lanes{status};
  HttpProbe probe;
  ApiHandler handler{loop, 300'000, {live, status, lanes, clock, log, probe}};
  std::optional<Response> answer;
};

TEST_F(ApiHandlerTest, RefusesWithoutAKnownToken) {
  for (const char* target : {"/api/v1/devices", "/api/v1/nodes", "/openapi.json", "/nowhere"}) {
    send(request(target, "GET", ""));
    EXPECT_EQ(answer->status, 401U) << target;
    EXPECT_EQ(answer->headers.at(0).second, "Bearer realm=\"fieldgate\"");
    send(request(target, "GET", "wrong"));
    EXPECT_EQ(answer->status, 401U) << target;
    EXPECT_NE(answer->headers.at(0).second.find("invalid_token"), std::string::npos);
  }
  EXPECT_EQ(live.asked(), 0);
}

TEST_F(ApiHandlerTest, AnswersAPreflightWithoutAToken) {
  send(request("/api/v1/devices", "OPTIONS", ""));
  EXPECT_EQ(answer->status, 204U);
  send(request("/api/v1/nowhere", "OPTIONS", ""));
  EXPECT_EQ(answer->status, 401U);
}

TEST_F(ApiHandlerTest, FindsNothingAtOtherPaths) {
  for (const char* target :
       {"/api", "/api/v1", "/api/v1/", "/api/v1/devices/", "/api/v1//devices", "/api/v2/devices",
        "/api/v1/devices/sensor-1/", "/api/v1/devices/sensor-1/telemetry",
        "/api/v1/devices/sensor-1/telemetry/latest/x", "/api/v1/openapi.json/", "/API/v1/devices"}) {
    EXPECT_EQ(problem(target), "/problems/not-found") << target;
  }
}

TEST_F(ApiHandlerTest, NamesTheMethodsThatArePossible) {
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get"}) {
    send(request("/api/v1/devices", method));
    EXPECT_EQ(answer->status, 405U) << method;
    ASSERT_FALSE(answer->headers.empty());
    EXPECT_EQ(answer->headers[0].first, "Allow");
  }
}

TEST_F(ApiHandlerTest, ListsDevicesWithTheirSummary) {
  const auto body = json(get("/api/v1/devices?count=true"));
  EXPECT_EQ(body.at("count").to_number<int>(), 2);
  EXPECT_TRUE(body.at("next_cursor").is_null());
  const auto& first = body.at("devices").as_array().at(0).as_object();
  EXPECT_EQ(first.at("id").as_string(), "sensor-1");
  EXPECT_EQ(first.at("epoch").as_string(), "9007199254740991");
  EXPECT_EQ(first.at("last_seen").as_string(), "2023-11-14T22:13:19.123Z");
  EXPECT_EQ(first.at("labels").at("site").as_string(), "Ber\"lin");
  EXPECT_TRUE(first.at("reason").is_null());
  const auto& second = body.at("devices").as_array().at(1).as_object();
  EXPECT_EQ(second.at("reason").as_string(), "heartbeat_lost");
  EXPECT_TRUE(second.at("last_data").is_null());
}

TEST_F(ApiHandlerTest, FiltersByItsParameters) {
  const auto count = [this](std::string_view query) {
    return json(get("/api/v1/devices?" + std::string(query))).at("devices").as_array().size();
  };
  EXPECT_EQ(count("online=true"), 1U);
  EXPECT_EQ(count("online=false&inactive=false"), 1U);
  EXPECT_EQ(count("inactive=true"), 0U);
  EXPECT_EQ(count("label=line"), 1U);
  EXPECT_EQ(count("label=line%3D3&label=site"), 1U);
  EXPECT_EQ(count("label=line=4"), 0U);
  EXPECT_EQ(count("firmware=2.1%2Bb7"), 1U);
  EXPECT_EQ(count("prefix=sensor-"), 2U);
  EXPECT_EQ(count("prefix=x"), 0U);
  clock.set(clock.unix_ms() + 400'000);
  EXPECT_EQ(count("inactive=true"), 1U);
}

TEST_F(ApiHandlerTest, FollowsACursorThroughTheSameQueryOnly) {
  const auto first = json(get("/api/v1/devices?sort=-since&limit=1"));
  EXPECT_EQ(first.at("devices").as_array().at(0).at("id").as_string(), "sensor-1");
  const std::string cursor(first.at("next_cursor").as_string());
  const auto second = json(get("/api/v1/devices?sort=-since&limit=7&cursor=" + cursor));
  EXPECT_EQ(second.at("devices").as_array().at(0).at("id").as_string(), "sensor-2");
  EXPECT_TRUE(second.at("next_cursor").is_null());
  for (const std::string& query :
       {"cursor=" + cursor, "sort=since&cursor=" + cursor, "sort=-since&online=true&cursor=" + cursor,
        "sort=-since&cursor=A" + cursor, std::string("cursor="), std::string("cursor=%2B")}) {
    EXPECT_EQ(problem("/api/v1/devices?" + query), "/problems/invalid-cursor") << query;
  }
}

TEST_F(ApiHandlerTest, RefusesParametersItCannotRead) {
  for (const char* query : {"online=yes", "online=",   "online",     "online=true&online=true",
                            "limit=0",    "limit=501", "limit=1x",   "limit=-1",
                            "limit=+1",   "limit=",    "sort=name",  "sort=--id",
                            "sort=",      "prefix=",   "prefix=a/b", "firmware=",
                            "label=",     "label==x",  "count=1",    "inactive=TRUE"}) {
    EXPECT_EQ(problem("/api/v1/devices?" + std::string(query)), "/problems/invalid-parameter") << query;
  }
  std::string many;
  for (int i = 0; i < 17; ++i) many += "label=a&";
  EXPECT_EQ(problem("/api/v1/devices?" + many), "/problems/invalid-parameter");
}

TEST_F(ApiHandlerTest, SuggestsTheNearestParameter) {
  const auto body = json(get("/api/v1/devices?onlin=true"));
  EXPECT_EQ(body.at("type").as_string(), "/problems/unknown-parameter");
  EXPECT_EQ(body.at("parameter").as_string(), "onlin");
  EXPECT_NE(body.at("detail").as_string().find("'online'"), std::string::npos);
  EXPECT_NE(json(get("/api/v1/devices?labels=x")).at("detail").as_string().find("'label'"), std::string::npos);
  EXPECT_EQ(problem("/api/v1/nodes?x=1"), "/problems/unknown-parameter");
  EXPECT_EQ(problem("/api/v1/devices/sensor-1?online=true"), "/problems/unknown-parameter");
  EXPECT_LT(get("/api/v1/devices?" + std::string(10'000, 'x') + "=1").body.size(), 1'000U);
}

TEST_F(ApiHandlerTest, ShowsADeviceWithItsLiveState) {
  const Response response = get("/api/v1/devices/sensor-1");
  EXPECT_TRUE(response.tagged);
  const auto body = json(response);
  EXPECT_EQ(body.at("live").at("tls").at("version").as_string(), "TLSv1.3");
  EXPECT_EQ(body.at("streams").as_array().at(0).at("id").as_string(), "18446744073709551615");
  const auto& values = body.at("last_values").as_array();
  EXPECT_EQ(values.at(0).at("value").as_string(), "9007199254740993");
  EXPECT_EQ(values.at(1).at("value").as_string(), "AP8=");
  EXPECT_EQ(values.at(2).at("value").as_string(), "NaN");
  EXPECT_TRUE(values.at(3).at("value").as_bool());
  EXPECT_EQ(values.at(4).at("value").as_string(), "run\n");
  EXPECT_EQ(values.at(5).at("value").as_double(), 21.5);
}

TEST_F(ApiHandlerTest, ShowsADeviceItsShardKnowsNothingOf) {
  const auto body = json(get("/api/v1/devices/sensor-2"));
  EXPECT_FALSE(body.at("online").as_bool());
  EXPECT_TRUE(body.at("live").is_null());
  const auto latest = json(get("/api/v1/devices/sensor-2/telemetry/latest"));
  EXPECT_TRUE(latest.at("last_values").as_array().empty());
}

TEST_F(ApiHandlerTest, SaysSoWhenThereIsNoSuchDevice) {
  for (const char* id : {"sensor-3", "sensor%2F1", "%20", "sensor-1%2F..", ".."}) {
    EXPECT_EQ(problem("/api/v1/devices/" + std::string(id)), "/problems/device-not-found") << id;
    EXPECT_EQ(problem("/api/v1/devices/" + std::string(id) + "/telemetry/latest"), "/problems/device-not-found");
  }
  EXPECT_EQ(live.asked(), 0);
}

TEST_F(ApiHandlerTest, GivesUpOnAShardThatDoesNotAnswer) {
  live.set_mute(true);
  EXPECT_FALSE(send(request("/api/v1/devices/sensor-1")).has_value());
  loop->let_time_pass();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200U);
  EXPECT_TRUE(json(*answer).at("live").is_null());
  EXPECT_TRUE(json(*answer).at("last_values").is_null());

  EXPECT_FALSE(send(request("/api/v1/devices/sensor-1/telemetry/latest")).has_value());
  loop->let_time_pass();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 503U);

  for (const auto& late : live.take_kept()) late(online_detail());
  loop->run();  // fails if a late answer is given after all
}

TEST_F(ApiHandlerTest, DropsAnswersThatComeAfterTheLoopHasEnded) {
  live.set_mute(true);
  send(request("/api/v1/devices/sensor-1"));
  loop.reset();
  for (const auto& late : live.take_kept()) late(online_detail());
  EXPECT_FALSE(answer.has_value());
  loop = std::make_shared<ManualLoop>();
}

TEST_F(ApiHandlerTest, SaysOfADeviceThatIsAwaitedThatItIsOnlineWithoutAConnection) {
  EXPECT_FALSE(json(get("/api/v1/devices/sensor-1")).at("reconnecting").as_bool());
  live.set_mute(true);
  const auto ask = [this](bool offline_meanwhile) {
    answer.reset();
    send(request("/api/v1/devices/sensor-1"));
    if (offline_meanwhile) {
      DeviceSummary gone = online_summary();
      gone.online = false;
      gone.reason = "drain";
      handler.apply({{gone}, {}});
    }
    DeviceDetail detail = online_detail();
    detail.reconnecting = true;
    for (const auto& late : live.take_kept()) late(detail);
    loop->run();
    EXPECT_TRUE(answer.has_value());
    return json(*answer);
  };
  const auto awaited = ask(false);
  EXPECT_TRUE(awaited.at("online").as_bool());
  EXPECT_TRUE(awaited.at("reconnecting").as_bool());
  EXPECT_TRUE(awaited.at("live").is_null());
  EXPECT_FALSE(awaited.at("streams").is_null()) << "that is known";
  const auto gone = ask(true);
  EXPECT_FALSE(gone.at("online").as_bool());
  EXPECT_FALSE(gone.at("reconnecting").as_bool());
}

TEST_F(ApiHandlerTest, BelievesTheIndexWhenTheDeviceHasLeftMeanwhile) {
  live.set_mute(true);
  send(request("/api/v1/devices/sensor-1"));
  DeviceSummary gone = online_summary();
  gone.online = false;
  gone.reason = "drain";
  handler.apply({{gone}, {}});
  for (const auto& late : live.take_kept()) late(online_detail());
  loop->run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(json(*answer).at("online").as_bool());
  EXPECT_TRUE(json(*answer).at("live").is_null());
}

TEST_F(ApiHandlerTest, ShowsNodesAndLanes) {
  const auto nodes = json(get("/api/v1/nodes"));
  EXPECT_EQ(nodes.at("nodes").as_array().at(0).at("reasons").as_array().at(0).at("name").as_string(), "lane_down");
  const auto shown = json(get("/api/v1/lanes"));
  EXPECT_EQ(shown.at("lanes").as_array().at(0).at("last_error").as_string(), "refused\xef\xbf\xbd");
  EXPECT_TRUE(shown.at("lanes").as_array().at(1).at("last_error").is_null());
}

TEST_F(ApiHandlerTest, ServesItsOwnDescription) {
  const auto document = json(get("/openapi.json"));
  EXPECT_EQ(document.at("openapi").as_string(), "3.1.0");
  EXPECT_EQ(get("/api/v1/openapi.json").body, get("/openapi.json").body);
}

TEST_F(ApiHandlerTest, DescribesExactlyTheProblemsThereAre) {
  const auto document = json(get("/openapi.json"));
  std::vector<std::string> described;
  for (const auto& type :
       document.at("components").at("schemas").at("Problem").at("properties").at("type").at("enum").as_array()) {
    described.emplace_back(type.as_string());
  }
  std::vector<std::string> known;
  for (const ProblemInfo& info : problems()) known.emplace_back(info.type);
  EXPECT_EQ(described, known);
}

TEST_F(ApiHandlerTest, DocumentsExactlyTheProblemsThereAre) {
  std::vector<std::string> documented;
  std::ifstream in("docs/http-api.md");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("| `/problems/")) documented.push_back(line.substr(0, line.find('|', line.find('|', 2) + 1)));
  }
  std::vector<std::string> known;
  for (const ProblemInfo& info : problems()) {
    known.push_back("| `" + std::string(info.type) + "` | " + std::to_string(info.status) + " ");
  }
  std::sort(documented.begin(), documented.end());
  std::sort(known.begin(), known.end());
  EXPECT_EQ(documented, known);
}

TEST_F(ApiHandlerTest, DocumentsExactlyTheParametersThereAre) {
  std::ifstream in("docs/http-api.md");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  for (const std::string_view name : list_parameters()) {
    EXPECT_NE(text.find("\n| `" + std::string(name) + "="), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace fieldgate::http
