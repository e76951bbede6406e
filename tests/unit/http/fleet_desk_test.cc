// SPDX-License-Identifier: Apache-2.0
//
// Lists of devices as their readers get them, and who may ask for what.
#include "adapters/http/fleet_desk.h"

#include "tests/support/lane_fakes.h"
#include "tests/unit/http/api_fixture.h"

#include <algorithm>
#include <sstream>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;

class FleetDeskTest : public ApiFixture {
 protected:
  static DeviceSummary device(const std::string& id) {
    DeviceSummary out{*DeviceId::parse(id)};
    out.online = true;
    out.epoch = {1};
    out.since_unix_ms = out.last_seen_unix_ms = out.last_data_unix_ms = 1'699'999'990'000;
    return out;
  }
  std::vector<std::string> ids(std::string_view query) {
    std::vector<std::string> out;
    const auto page = json(ask("GET", "/api/v1/devices?" + std::string(query)));
    for (const auto& one : page.at("devices").as_array()) out.emplace_back(one.at("id").as_string());
    return out;
  }
};

TEST_F(FleetDeskTest, GivesEveryDeviceOnALineOfItsOwn) {
  std::vector<DeviceSummary> devices;
  for (int i = 0; i < 1'000; ++i) devices.push_back(device("d" + std::to_string(i)));
  handler.apply({devices});
  const Response all = ask("GET", "/api/v1/devices?format=ndjson&fields=id&sort=-last_seen");
  EXPECT_EQ(all.content_type, "application/x-ndjson");
  std::istringstream lines(drain(all));
  std::vector<std::string> found;
  for (std::string line; std::getline(lines, line);) found.push_back(line);
  EXPECT_EQ(found.size(), 1'000U);
  EXPECT_EQ(found[0], R"({"id":"d999"})");
  std::sort(found.begin(), found.end());
  EXPECT_EQ(std::adjacent_find(found.begin(), found.end()), found.end());
  EXPECT_EQ(drain(ask("GET", "/api/v1/devices?prefix=x", "", {{"accept", "text/html, application/x-ndjson;q=0.9"}})),
            "");
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices?format=ndjson&cursor=A")), "/problems/invalid-parameter");
}

TEST_F(FleetDeskTest, GoesOnWithAnExportThoughTheFleetChangesMeanwhile) {
  std::vector<DeviceSummary> devices;
  for (int i = 1'000; i < 1'600; ++i) devices.push_back(device("d" + std::to_string(i)));
  handler.apply({devices});
  const Response all = ask("GET", "/api/v1/devices?format=ndjson&fields=id");
  std::string first;
  all.source->next([&first](BodyPiece piece) { first = piece.bytes; });
  handler.apply({{device("a"), device("d1599x")}});  // one is behind, one is ahead
  const std::string rest = drain(all);
  EXPECT_EQ(rest.find(R"({"id":"a"})"), std::string::npos);
  EXPECT_NE(rest.find(R"({"id":"d1599x"})"), std::string::npos);
  EXPECT_EQ(std::count(first.begin(), first.end(), '\n') + std::count(rest.begin(), rest.end(), '\n'), 601);
}

TEST_F(FleetDeskTest, AppliesNewsInPiecesThatLeaveRoomForRequests) {
  std::vector<DeviceSummary> devices;
  for (std::size_t i = 0; i < 2 * FleetDesk::k_apply_max + 10; ++i) devices.push_back(device("d" + std::to_string(i)));
  handler.apply({devices});
  EXPECT_EQ(handler.index().size(), FleetDesk::k_apply_max);
  loop->run();
  EXPECT_EQ(handler.index().size(), devices.size());
}

TEST_F(FleetDeskTest, BelievesTheStoreOfOtherNodesAndOfWhatIsOver) {
  PresenceRow elsewhere{*DeviceId::parse("elsewhere"),
                        {5},
                        true,
                        "edge-2",
                        "b2",
                        1'699'999'000'000,
                        "",
                        1'699'999'000'000,
                        0,
                        "2.0",
                        {{"site", "x"}}};
  PresenceRow ours = elsewhere;
  ours.device = *DeviceId::parse("ours");
  ours.node = "edge-1";
  ours.boot_id = "an earlier one";
  FleetInbox::Content news;
  news.known = {elsewhere, ours};
  handler.apply(std::move(news));
  EXPECT_EQ(ids("node=edge-2&online=true"), std::vector<std::string>{"elsewhere"});
  EXPECT_EQ(ids("reason=node_lost"), std::vector<std::string>{"ours"});
}

TEST_F(FleetDeskTest, NamesThisNodeForDevicesOfItsShards) {
  handler.apply({{device("a")}});
  EXPECT_EQ(json(ask("GET", "/api/v1/devices/a")).at("node").as_string(), "edge-1");
  EXPECT_EQ(ids("node=edge-1"), std::vector<std::string>{"a"});
  EXPECT_TRUE(ids("node=edge-9").empty());
}

TEST_F(FleetDeskTest, ShowsTheFieldsAskedForAndThePlan) {
  handler.apply({{device("a")}});
  const auto page = json(ask("GET", "/api/v1/devices?fields=online,id&explain=true"));
  EXPECT_EQ(boost::json::serialize(page.at("devices").as_array().at(0)), R"({"id":"a","online":true})");
  EXPECT_EQ(page.at("plan").at("path").as_string(), "id");
  EXPECT_EQ(page.at("plan").at("walked").to_number<int>(), 1);
  for (const char* bad :
       {"fields=", "fields=id,", "fields=name", "explain=1", "format=csv", "text=", "node=%20", "last_seen_after=now",
        "last_seen_after=2026-02-30T00:00:00Z", "inactive_for=1w", "label=!", "label=!=x", "enabled=maybe"}) {
    EXPECT_EQ(problem(ask("GET", "/api/v1/devices?" + std::string(bad))), "/problems/invalid-parameter") << bad;
  }
}

TEST_F(FleetDeskTest, FiltersByTimeAndRegistry) {
  DeviceSummary early = device("early");
  early.last_seen_unix_ms = 1'600'000'000'000;  // 2020-09-13T12:26:40Z
  handler.apply({{early, device("late")}});
  ask("PUT", "/api/v1/devices/late", R"({"labels":{"site":"berlin"},"note":"Behind the Boiler"})");
  ask("PUT", "/api/v1/devices/spare", R"({"enabled":false})");
  using Ids = std::vector<std::string>;
  EXPECT_EQ(ids("last_seen_before=2020-09-13T12:26:41Z"), Ids{"early"});
  EXPECT_EQ(ids("last_seen_before=2020-09-13T12:26:40Z"), Ids{});
  EXPECT_EQ(ids("last_seen_after=2020-09-13T14:26:40.001%2B02:00"), Ids{"late"});
  EXPECT_EQ(ids("registered=false"), Ids{"early"});
  EXPECT_EQ(ids("enabled=false"), Ids{"spare"});
  EXPECT_EQ(ids("text=boiler"), Ids{"late"});
  EXPECT_EQ(ids("label=site!=berlin"), (Ids{"early", "spare"}));
  EXPECT_EQ(ids("label=!site&online=true"), Ids{"early"});
  EXPECT_EQ(ids("inactive_for=9s"), (Ids{"early", "late"}));
  EXPECT_EQ(ids("inactive_for=11s"), Ids{});
}

TEST(ParseRfc3339, TakesWhatItSaysAndNothingElse) {
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_rfc3339("2023-11-14T22:13:20.123Z"), 1'700'000'000'123);
  EXPECT_EQ(parse_rfc3339("2023-11-14t22:13:20.1239999z"), 1'700'000'000'123);
  EXPECT_EQ(parse_rfc3339("2023-11-15 00:13:20+02:00"), 1'700'000'000'000);
  EXPECT_EQ(parse_rfc3339("2024-02-29T00:00:00-00:30"), 1'709'166'600'000);
  for (const char* bad : {"", "2023-11-14", "2023-11-14T22:13Z", "2023-11-14T22:13:20", "2023-11-14T22:13:20.Z",
                          "2023-02-29T00:00:00Z", "2023-11-14T24:00:00Z", "2023-11-14T22:60:00Z", "23-11-14T22:13:20Z",
                          "2023-11-14T22:13:20+2:00", "2023-11-14T22:13:20Z ", "-023-11-14T22:13:20Z"}) {
    EXPECT_EQ(parse_rfc3339(bad), std::nullopt) << bad;
  }
}

TEST(ParseDuration, TakesUnitsAndBareSeconds) {
  using std::chrono::milliseconds;
  EXPECT_EQ(parse_duration("500ms"), milliseconds(500));
  EXPECT_EQ(parse_duration("10s"), milliseconds(10'000));
  EXPECT_EQ(parse_duration("10"), milliseconds(10'000));
  EXPECT_EQ(parse_duration("5m"), milliseconds(300'000));
  EXPECT_EQ(parse_duration("24h"), milliseconds(86'400'000));
  EXPECT_EQ(parse_duration("7d"), milliseconds(604'800'000));
  for (const char* bad : {"", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "1w", "99999999999999999999s", "10000000001d"}) {
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  }
}

TEST(Routes, NeedTheScopesThatTheirDescriptionNames) {
  const auto document = boost::json::parse(openapi_document());
  for (const RouteInfo& route : routes()) {
    for (const auto& [method, operation] : document.at("paths").at(std::string(route.path)).as_object()) {
      const auto* scope = operation.as_object().if_contains("x-scope");
      if (scope == nullptr) continue;
      std::string upper(method);
      for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
      EXPECT_EQ(to_string(scope_of(route, upper)), std::string_view(scope->as_string())) << upper << ' ' << route.path;
      EXPECT_EQ(takes_body(route, upper), operation.as_object().contains("requestBody")) << upper << ' ' << route.path;
    }
  }
}

TEST(Audit, WritesALineOfEveryChangeWhateverBecomesOfIt) {
  auto loop = std::make_shared<StepLoop>();
  FakeLiveDevices live;
  FakeNodeStatus status;
  test::FakeClock clock;
  TextLog log;
  FakeLaneControl lanes{status};
  HttpProbe probe;
  FakeControl control;
  ApiHandler handler(loop, 300'000, ApiPorts{live, status, lanes, clock, log, probe, control.ports(), nullptr});
  auto table =
      TokenTable::parse("ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b admin", "t");
  handler.set_access(std::make_shared<const Access>(std::move(*table)));
  const auto change = [&](std::string body) {
    Request request;
    request.head.method = "PUT";
    request.head.target = "/api/v1/devices/a";
    request.head.headers = {{"authorization", "Bearer secret"}};
    request.target = *parse_target(request.head.target);
    request.body = std::move(body);
    handler.handle(request, [](const Response&) {});
    loop->run();
    loop->let_time_pass();
  };
  const std::string what = "by=token:ops method=PUT path=/api/v1/devices/a outcome=";
  change("{}");
  EXPECT_TRUE(log.has("api_write " + what + "done status=201 changed=1"));
  change("{");
  EXPECT_TRUE(log.has("api_write_refused " + what + "refused status=400 changed=0"));
  control.set_mute(true);
  change("{}");
  EXPECT_TRUE(log.has("api_write " + what + "unknown status=503 changed=0"));
}

}  // namespace
}  // namespace fieldgate::http
