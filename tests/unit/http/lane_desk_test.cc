// SPDX-License-Identifier: Apache-2.0
//
// What an operator may do over the API: to lanes, to dead letters, and with which token.
#include "adapters/http/lane_desk.h"

#include "adapters/http/api_handler.h"
#include "adapters/http/dead_letter_query.h"
#include "adapters/http/request_gate.h"
#include "tests/support/http_fakes.h"
#include "tests/support/lane_fakes.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <array>
#include <fstream>
#include <iterator>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;

class LaneDeskTest : public testing::Test {
 protected:
  void SetUp() override {
    // printf %s secret | sha256sum, and of other
    auto table = TokenTable::parse(
        "ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b admin\n"
        "wall sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa\n",
        "t");
    ASSERT_TRUE(table.has_value());
    handler.set_access(std::make_shared<const Access>(std::move(*table)));
  }

  Response ask(std::string_view method, std::string_view target, std::string_view token = "secret",
               std::size_t body_bytes = 0) {
    Request r;
    r.head.method = method;
    r.head.target = target;
    if (!token.empty()) r.head.headers.emplace_back("authorization", "Bearer " + std::string(token));
    r.target = *parse_target(target);
    r.body.assign(body_bytes, 'x');
    r.id = "cafe0000-1";
    r.peer = "127.0.0.1:4000";
    std::optional<Response> answer;
    handler.handle(r, [&answer](Response response) { answer = std::move(response); });
    EXPECT_TRUE(answer.has_value()) << method << " " << target;
    return answer.value_or(Response{});
  }

  boost::json::object json(const Response& response) { return boost::json::parse(response.body).as_object(); }
  boost::json::object get(std::string_view target) { return json(ask("GET", target)); }
  std::string problem(const Response& response) {
    EXPECT_EQ(response.content_type, "application/problem+json") << response.body;
    return std::string(json(response).at("type").as_string());
  }
  static std::string header(const Response& response, std::string_view name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "(none)";
  }
  std::size_t kept() { return lanes.store.list({}).letters.size(); }
  void add(int count, std::string_view lane = "main", std::string_view device = "sensor-1") {
    for (int i = 0; i < count; ++i) lanes.store.add(letter_of(lane, device));
  }

  FakeLiveDevices live;
  FakeNodeStatus status;
  FakeLaneControl lanes{status};
  test::FakeClock clock;
  TextLog log;
  HttpProbe probe;
  ApiHandler handler{std::weak_ptr<Loop>(), 300'000, {live, status, lanes, clock, log, probe}};
};

TEST_F(LaneDeskTest, ShowsAnAccountThatAddsUpAndTheDeadLettersKept) {
  add(2);
  const auto lane = get("/api/v1/lanes").at("lanes").as_array().at(0).as_object();
  const auto number = [&](const char* name) { return lane.at(name).to_number<std::uint64_t>(); };
  EXPECT_EQ(number("records_in"), number("pending_records") + number("forwarded_records") + number("filtered_records") +
                                      number("dead_lettered_records") + number("expired_records") +
                                      number("skipped_records"));
  EXPECT_EQ(number("expired_records"), 11U);
  EXPECT_EQ(number("skipped_records"), 5U);
  EXPECT_EQ(lane.at("dead_letters").at("kept").to_number<int>(), 2);
  EXPECT_EQ(lane.at("dead_letters").at("bytes").to_number<int>(), 6);
  EXPECT_EQ(lane.at("dead_letters").at("evicted").to_number<int>(), 2);
  EXPECT_EQ(get("/api/v1/lanes/main"), lane);
  EXPECT_EQ(get("/api/v1/lanes/archive").at("dead_letters").at("kept").to_number<int>(), 0);
}

TEST_F(LaneDeskTest, PausesAndResumesALaneAndAnswersWhatItIsThen) {
  for (int twice = 0; twice < 2; ++twice) {
    const Response paused = ask("POST", "/api/v1/lanes/main/pause");
    EXPECT_EQ(paused.status, 200U);
    EXPECT_TRUE(json(paused).at("held").as_bool());
    EXPECT_EQ(json(paused).at("name").as_string(), "main");
  }
  EXPECT_FALSE(get("/api/v1/lanes/archive").at("held").as_bool());
  for (int twice = 0; twice < 2; ++twice) {
    const Response resumed = ask("POST", "/api/v1/lanes/main/resume");
    EXPECT_EQ(resumed.status, 200U);
    EXPECT_FALSE(json(resumed).at("held").as_bool());
  }
}

TEST_F(LaneDeskTest, SaysWhichLanesThereAreWhenThereIsNoSuchLane) {
  for (const auto& [method, end] : {std::pair("GET", ""), std::pair("POST", "/pause"), std::pair("POST", "/resume")}) {
    const Response answer = ask(method, "/api/v1/lanes/mian" + std::string(end));
    EXPECT_EQ(answer.status, 404U);
    EXPECT_EQ(problem(answer), "/problems/lane-not-found");
    EXPECT_EQ(json(answer).at("detail").as_string(), "the lanes are: main, archive");
  }
}

TEST_F(LaneDeskTest, ListsDeadLettersWithoutAndShowsOneWithItsPayload) {
  add(1);
  const auto listed = get("/api/v1/dead-letters").at("dead_letters").as_array().at(0).as_object();
  EXPECT_FALSE(listed.contains("payload"));
  const auto shown = get("/api/v1/dead-letters/1");
  EXPECT_EQ(shown.at("payload").as_string(), "AP8h");
  for (const auto& [key, value] : listed) EXPECT_EQ(shown.at(key), value) << key;
  EXPECT_EQ(shown.size(), listed.size() + 1);
  EXPECT_EQ(shown.at("id").as_string(), "1");
  EXPECT_EQ(shown.at("kind").as_string(), "event");
  EXPECT_EQ(shown.at("stream").as_string(), "18446744073709551615");
  EXPECT_EQ(shown.at("seq").as_string(), "17");
  EXPECT_EQ(shown.at("received").as_string(), "2023-11-14T21:56:40.000Z");
  EXPECT_EQ(shown.at("refused").as_string(), "2023-11-14T21:56:41.000Z");
  EXPECT_EQ(shown.at("reason").as_string(), "payload_format_invalid");
  EXPECT_EQ(shown.at("detail").as_string(), "no\xef\xbf\xbd");
  EXPECT_EQ(shown.at("payload_bytes").to_number<int>(), 3);
}

TEST_F(LaneDeskTest, FiltersDeadLettersAndFollowsACursorThroughTheSameQueryOnly) {
  add(3, "main", "sensor-1");
  add(2, "main", "sensor-2");
  add(2, "archive", "sensor-1");
  const auto count = [this](const std::string& query) {
    return get("/api/v1/dead-letters?" + query).at("dead_letters").as_array().size();
  };
  EXPECT_EQ(count(""), 7U);
  EXPECT_EQ(count("lane=main"), 5U);
  EXPECT_EQ(count("device=sensor-1"), 5U);
  EXPECT_EQ(count("lane=archive&device=sensor-2"), 0U);

  std::vector<std::string> ids;
  std::string cursor;
  do {
    const auto page = get("/api/v1/dead-letters?lane=main&limit=2" + cursor);
    for (const auto& letter : page.at("dead_letters").as_array()) ids.emplace_back(letter.at("id").as_string());
    const auto& next = page.at("next_cursor");
    cursor = next.is_null() ? "" : "&cursor=" + std::string(next.as_string());
    if (cursor.empty()) continue;
    EXPECT_EQ(count("lane=main&limit=500" + cursor), 5U - ids.size());
    for (const std::string& other : {"device=sensor-1&lane=main" + cursor, "lane=archive" + cursor, "limit=2" + cursor,
                                     "lane=main&cursor=A" + cursor.substr(8)}) {
      EXPECT_EQ(problem(ask("GET", "/api/v1/dead-letters?" + other)), "/problems/invalid-cursor") << other;
    }
    EXPECT_EQ(problem(ask("GET", "/api/v1/devices?" + cursor.substr(1))), "/problems/invalid-cursor");
  } while (!cursor.empty());
  EXPECT_EQ(ids, (std::vector<std::string>{"1", "2", "3", "4", "5"}));
}

TEST_F(LaneDeskTest, RefusesParametersItCannotRead) {
  for (const char* query : {"lane=", "lane=a/b", "device=%20", "limit=0", "limit=501", "limit=x", "lane=main&lane=main",
                            "cursor=&cursor="}) {
    EXPECT_EQ(problem(ask("GET", "/api/v1/dead-letters?" + std::string(query))), "/problems/invalid-parameter")
        << query;
  }
  EXPECT_EQ(problem(ask("GET", "/api/v1/dead-letters?lanes=main")), "/problems/unknown-parameter");
  add(1);
  for (const auto& [method, path] :
       {std::pair("POST", "/api/v1/lanes/main/pause"), std::pair("POST", "/api/v1/dead-letters/1/replay"),
        std::pair("DELETE", "/api/v1/dead-letters/1"), std::pair("GET", "/api/v1/lanes/main")}) {
    EXPECT_EQ(problem(ask(method, std::string(path) + "?force=1")), "/problems/unknown-parameter") << path;
  }
  EXPECT_FALSE(status.held("main"));
  EXPECT_EQ(kept(), 1U);
}

TEST_F(LaneDeskTest, SendsOneDeadLetterAgainOrDeletesIt) {
  add(2);
  const Response replayed = ask("POST", "/api/v1/dead-letters/1/replay");
  EXPECT_EQ(replayed.status, 204U);
  EXPECT_TRUE(replayed.body.empty());
  EXPECT_EQ(lanes.room, 999U);
  EXPECT_EQ(ask("DELETE", "/api/v1/dead-letters/2").status, 204U);
  EXPECT_EQ(lanes.room, 999U);
  EXPECT_EQ(kept(), 0U);
  for (const char* id : {"1", "2", "9", "0", "01", "-1", "x", "18446744073709551616"}) {
    const std::string path = "/api/v1/dead-letters/" + std::string(id);
    EXPECT_EQ(problem(ask("GET", path)), "/problems/dead-letter-not-found") << id;
    EXPECT_EQ(problem(ask("DELETE", path)), "/problems/dead-letter-not-found") << id;
    EXPECT_EQ(problem(ask("POST", path + "/replay")), "/problems/dead-letter-not-found") << id;
  }
}

TEST_F(LaneDeskTest, KeepsALetterThatTheLogDoesNotTakeAndSaysWhy) {
  add(1);
  add(1, "gone");
  const auto expect = [this](std::string_view id, unsigned status_code, std::string_view type) {
    const Response answer = ask("POST", "/api/v1/dead-letters/" + std::string(id) + "/replay");
    EXPECT_EQ(answer.status, status_code);
    EXPECT_EQ(problem(answer), type);
    EXPECT_EQ(header(answer, "Retry-After"), status_code == 503 ? "1" : "(none)");
  };
  expect("2", 404, "/problems/lane-not-found");
  DeadLetter stale = letter_of("main");
  stale.kind = RecordKind::state;
  lanes.store.add(stale);
  expect("3", 409, "/problems/not-replayable");
  lanes.room = 0;
  expect("1", 503, "/problems/log-full");
  lanes.failure = Errc::unavailable;
  expect("1", 503, "/problems/log-unavailable");
  lanes.failure = Errc::internal;
  expect("1", 500, "/problems/internal-error");
  EXPECT_EQ(kept(), 3U);
}

TEST_F(LaneDeskTest, GoesOnAfterALetterThatCannotBeSentAgainWhenAskedTo) {
  add(1, "gone");
  add(2);
  std::string cursor;
  std::vector<std::string> steps;
  do {
    const auto step = json(ask("POST", "/api/v1/dead-letters/replay?device=sensor-1" + cursor));
    const auto& stopped = step.at("stopped");
    steps.push_back(std::to_string(step.at("done").to_number<int>()) +
                    (stopped.is_null() ? "" : std::string(stopped.as_string())));
    const auto& next = step.at("next_cursor");
    EXPECT_EQ(next.is_null(), !step.at("more").as_bool());
    cursor = next.is_null() ? "" : "&cursor=" + std::string(next.as_string());
  } while (!cursor.empty() && steps.size() < 9);
  EXPECT_EQ(steps, (std::vector<std::string>{"0/problems/lane-not-found", "2"}));
  EXPECT_EQ(kept(), 1U);
}

TEST_F(LaneDeskTest, DoesNothingToAllDeadLettersUnlessToldWhich) {
  add(3);
  for (const char* query : {"", "?limit=2"}) {
    for (const auto& [method, path] :
         {std::pair("DELETE", "/api/v1/dead-letters"), std::pair("POST", "/api/v1/dead-letters/replay")}) {
      const Response answer = ask(method, path + std::string(query));
      EXPECT_EQ(answer.status, 400U);
      EXPECT_EQ(problem(answer), "/problems/missing-parameter");
    }
  }
  EXPECT_EQ(kept(), 3U);
}

TEST_F(LaneDeskTest, DoesAsManyAsOneCallMayAndSaysThatMoreAreLeft) {
  add(5);
  add(2, "archive");
  for (const auto& [method, path] :
       {std::pair("DELETE", "/api/v1/dead-letters"), std::pair("POST", "/api/v1/dead-letters/replay")}) {
    const auto first = json(ask(method, std::string(path) + "?lane=main&limit=2"));
    EXPECT_EQ(first.at("done").to_number<int>(), 2);
    EXPECT_TRUE(first.at("more").as_bool());
    EXPECT_TRUE(first.at("stopped").is_null());
    const std::string cursor(first.at("next_cursor").as_string());
    const auto second = json(ask(method, std::string(path) + "?lane=main&cursor=" + cursor));
    EXPECT_EQ(second.at("done").to_number<int>(), 3);
    EXPECT_FALSE(second.at("more").as_bool());
    EXPECT_TRUE(second.at("next_cursor").is_null());
    EXPECT_EQ(kept(), 2U) << "those of the other lane";
    add(5);
  }
  EXPECT_EQ(lanes.room, 995U);
  EXPECT_EQ(json(ask("DELETE", "/api/v1/dead-letters?device=sensor-1")).at("done").to_number<int>(), 7);
}

TEST_F(LaneDeskTest, ComesToAnEndThoughEachLetterThatIsSentAgainIsRefusedAgain) {
  add(6);
  std::size_t requests = 0;
  std::size_t done = 0;
  std::string cursor;
  do {
    const auto answer = json(ask("POST", "/api/v1/dead-letters/replay?lane=main&limit=2" + cursor));
    const auto some = answer.at("done").to_number<std::size_t>();
    done += some;
    clock.set(clock.unix_ms() + 5);
    for (std::size_t i = 0; i < some; ++i) {
      DeadLetter again = letter_of("main");
      again.refused_unix_ms = clock.unix_ms();
      lanes.store.add(again);
    }
    EXPECT_EQ(answer.at("more").as_bool(), answer.at("next_cursor").is_string());
    cursor = answer.at("more").as_bool() ? "&cursor=" + std::string(answer.at("next_cursor").as_string()) : "";
  } while (!cursor.empty() && ++requests < 20);
  EXPECT_EQ(done, 6U);
  EXPECT_EQ(kept(), 6U);
}

TEST_F(LaneDeskTest, StopsWhereTheLogIsFullAndSaysHowFarItCame) {
  add(5);
  lanes.room = 3;
  const auto some = json(ask("POST", "/api/v1/dead-letters/replay?lane=main"));
  EXPECT_EQ(some.at("done").to_number<int>(), 3);
  EXPECT_TRUE(some.at("more").as_bool());
  EXPECT_EQ(some.at("stopped").as_string(), "/problems/log-full");
  EXPECT_EQ(kept(), 2U);
  const Response none = ask("POST", "/api/v1/dead-letters/replay?lane=main");
  EXPECT_EQ(none.status, 503U);
  EXPECT_EQ(problem(none), "/problems/log-full");
  EXPECT_EQ(header(none, "Retry-After"), "1");
  lanes.room = 10;
  const std::string cursor(some.at("next_cursor").as_string());
  EXPECT_EQ(json(ask("POST", "/api/v1/dead-letters/replay?lane=main&cursor=" + cursor)).at("done").to_number<int>(), 2);
  EXPECT_EQ(kept(), 0U);
}

// Every write there is.
constexpr std::array<std::pair<const char*, const char*>, 6> k_writes = {{
    {"POST", "/api/v1/lanes/main/pause"},
    {"POST", "/api/v1/lanes/main/resume"},
    {"POST", "/api/v1/dead-letters/1/replay"},
    {"DELETE", "/api/v1/dead-letters/2"},
    {"POST", "/api/v1/dead-letters/replay?lane=main&limit=1"},
    {"DELETE", "/api/v1/dead-letters?lane=main"},
}};

TEST_F(LaneDeskTest, LetsOnlyAnAdminChangeAnything) {
  add(5);
  for (const auto& [method, target] : k_writes) {
    const Response refused = ask(method, target, "other");
    EXPECT_EQ(refused.status, 403U) << target;
    EXPECT_EQ(problem(refused), "/problems/forbidden");
    EXPECT_EQ(header(refused, "WWW-Authenticate"),
              "Bearer realm=\"fieldgate\", error=\"insufficient_scope\", scope=\"admin\"");
    EXPECT_EQ(ask(method, target, "").status, 401U) << target;
    EXPECT_EQ(ask(method, target, "wrong").status, 401U) << target;
  }
  EXPECT_EQ(kept(), 5U);
  EXPECT_FALSE(status.held("main"));
  for (const char* target : {"/api/v1/lanes", "/api/v1/lanes/main", "/api/v1/dead-letters", "/api/v1/dead-letters/1"}) {
    EXPECT_EQ(ask("GET", target, "other").status, 200U) << target;
  }
  for (const auto& [method, target] : k_writes) EXPECT_LT(ask(method, target).status, 300U) << target;
  EXPECT_EQ(kept(), 0U);
}

TEST_F(LaneDeskTest, WritesOneAuditLineForEachWriteAndNoneForLooking) {
  add(3);
  const auto audited = [this] {
    std::vector<std::string> lines;
    std::istringstream all(log.all());
    for (std::string line; std::getline(all, line);) {
      if (line.starts_with("api_write")) lines.push_back(line);
    }
    return lines;
  };
  ask("GET", "/api/v1/dead-letters");
  ask("POST", "/api/v1/lanes/main");            // 405
  ask("POST", "/api/v1/lanes/main/pause", "");  // nobody
  EXPECT_TRUE(audited().empty());
  ask("DELETE", "/api/v1/dead-letters?lane=main&limit=2");
  ask("DELETE", "/api/v1/dead-letters/9");
  ask("POST", "/api/v1/lanes/main/pause", "other");
  const auto lines = audited();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0],
            "api_write by=token:ops method=DELETE path=/api/v1/dead-letters?lane=main&limit=2 outcome=done status=200 "
            "changed=2 peer=127.0.0.1:4000 id=cafe0000-1");
  EXPECT_NE(lines[1].find("outcome=refused status=404 changed=0"), std::string::npos) << lines[1];
  EXPECT_TRUE(lines[1].starts_with("api_write_refused ")) << lines[1];
  EXPECT_NE(lines[2].find(
                "api_write_refused by=token:wall method=POST path=/api/v1/lanes/main/pause outcome=refused status=403"),
            std::string::npos)
      << lines[2];
  EXPECT_EQ(log.all().find("secret"), std::string::npos);
}

TEST_F(LaneDeskTest, WritesAStrangerDownOnceForEachRequestAndNotTheToken) {
  Request stranger;
  stranger.head.method = "PUT";
  stranger.head.target = "/api/v1/devices/a";
  stranger.head.headers = {{"authorization", "Bearer nobodys"}};
  stranger.target = *parse_target(stranger.head.target);
  EXPECT_EQ(handler.accepts(stranger).mode, BodyMode::none);
  unsigned answered = 0;
  handler.handle(stranger, [&](const Response& response) { answered = response.status; });
  EXPECT_EQ(answered, 401U);
  const std::string all = log.all();
  const std::size_t line = all.find("api_unauthenticated ");
  ASSERT_NE(line, std::string::npos);
  EXPECT_EQ(all.find("api_unauthenticated ", line + 1), std::string::npos) << all;
  EXPECT_EQ(all.find("nobodys"), std::string::npos) << all;
}

TEST_F(LaneDeskTest, TakesNoBody) {
  add(2);
  for (const auto& [method, target] : k_writes) {
    const Response answer = ask(method, target, "secret", 2);
    EXPECT_EQ(answer.status, 400U) << target;
    EXPECT_EQ(problem(answer), "/problems/unexpected-body");
  }
  EXPECT_EQ(problem(ask("GET", "/api/v1/lanes", "secret", 1)), "/problems/unexpected-body");
  EXPECT_EQ(kept(), 2U);
}

TEST_F(LaneDeskTest, NamesTheMethodsOfEachPath) {
  for (const RouteInfo& route : routes()) {
    std::string path(route.path);
    for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{')) {
      path.replace(at, path.find('}') - at + 1, "1");
    }
    EXPECT_EQ(header(ask("OPTIONS", path, ""), "Allow"), route.allow);
    for (const char* method : {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "get", "OPTIONS,"}) {
      const bool listed =
          (", " + std::string(route.allow) + ",").find(", " + std::string(method) + ",") != std::string::npos;
      const Response answer = ask(method, path);
      EXPECT_EQ(answer.status == 405, !listed) << method << " " << path;
      if (!listed) {
        EXPECT_EQ(header(answer, "Allow"), route.allow);
      }
    }
  }
}

TEST_F(LaneDeskTest, DescribesExactlyThePathsAndMethodsThereAre) {
  const auto document = boost::json::parse(openapi_document());
  const auto& described = document.at("paths").as_object();
  EXPECT_EQ(described.size(), routes().size());
  for (const RouteInfo& route : routes()) {
    const auto* path = described.if_contains(route.path);
    ASSERT_NE(path, nullptr) << route.path;
    std::set<std::string> methods;
    for (const auto& [method, operation] : path->as_object()) {
      std::string upper(method);
      for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
      EXPECT_TRUE(allows(route, upper)) << upper << " " << route.path;
      methods.insert(upper);
    }
    EXPECT_EQ(methods.size(), static_cast<std::size_t>(std::count(route.allow.begin(), route.allow.end(), ',')) + 1)
        << route.path;
  }
}

TEST_F(LaneDeskTest, DocumentsEveryPathAndParameterOfItsOwn) {
  std::ifstream in("docs/http-api.md");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  for (const RouteInfo& route : routes()) {
    const bool ours = route.path.starts_with("/api/v1/lanes") || route.path.starts_with("/api/v1/dead-letters");
    if (!ours) continue;
    EXPECT_NE(text.find(std::string(route.path.substr(std::string_view("/api/v1").size()))), std::string::npos)
        << route.path;
  }
  for (const std::string_view name : dead_letter_parameters()) {
    EXPECT_NE(text.find("\n| `" + std::string(name) + "="), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace fieldgate::http
