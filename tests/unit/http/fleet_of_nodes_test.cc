// SPDX-License-Identifier: Apache-2.0
//
// Several nodes on one store: what the API of one of them tells of the others' devices.
#include "adapters/http/peer_detail.h"
#include "tests/unit/http/api_fixture.h"

#include <limits>
#include <map>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;

// Keeps questions until the test answers them.
class HeldPeers final : public Peers {
 public:
  struct Question {
    std::string node;
    std::string kind;
    std::string body;
    Answer answer;
  };
  void serve(std::string_view kind, Handler handler) override { handlers[std::string(kind)] = std::move(handler); }
  void tell(const std::string&, std::string_view, std::string, std::chrono::seconds) override {}
  void ask(const std::string& node, std::string_view kind, std::string body, std::chrono::milliseconds,
           Answer answer) override {
    questions.push_back({node, std::string(kind), std::move(body), std::move(answer)});
  }
  bool connected() const noexcept override { return true; }

  std::vector<Question> questions;
  std::map<std::string, Handler> handlers;
};

class FakeElsewhere final : public Elsewhere {
 public:
  void kick(const DeviceId& id, Reply<bool> reply) override {
    kicked.push_back(id.str());
    reply(outcome);
  }
  std::vector<std::string> kicked;
  Result<bool> outcome = true;
};

DeviceDetail detail_of(const std::string& id, std::uint64_t epoch) {
  DeviceSummary summary{*DeviceId::parse(id)};
  summary.online = true;
  summary.epoch = {epoch};
  summary.since_unix_ms = summary.last_seen_unix_ms = 1'699'999'999'000;
  summary.last_data_unix_ms = 1'699'999'998'000;
  DeviceDetail detail(summary);
  detail.address = "10.0.0.7:4000";
  detail.tls_version = "TLSv1.3";
  detail.tls_cipher = "TLS_AES_128_GCM_SHA256";
  detail.tls_resumed = true;
  detail.credential = "jwt";
  detail.ack_stage = "spooled";
  detail.heartbeat_seconds = 30;
  detail.frames_received = ~std::uint64_t{0};
  detail.bytes_received = 5;
  detail.unacked_frames = 6;
  detail.credit_frames = 64;
  detail.streams = {{{7}, {8}, {9}, 10, 11}};
  detail.last_values = {{"a", 1.5, 1, "good"},
                        {"b", std::int64_t{-3}, 2, "uncertain"},
                        {"c", true, 3, "bad"},
                        {"d", std::string("x\"ü"), 4, "good"},
                        {"e", std::vector<std::byte>{std::byte{0}, std::byte{0xff}}, 5, "good"},
                        {"f", std::numeric_limits<double>::infinity(), 6, "good"}};
  return detail;
}

class FleetOfNodesTest : public ApiFixture {
 protected:
  FleetOfNodesTest() {
    ControlPorts with = control.ports();
    with.elsewhere = &elsewhere;
    ApiPorts ports{live, status, lanes, clock, log, probe, with, &downlink};
    ports.peers = &peers;
    shared = std::make_unique<ApiHandler>(loop, 300'000, ports);
  }
  void SetUp() override {
    auto table =
        TokenTable::parse("ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b admin\n", "t");
    ASSERT_TRUE(table.has_value());
    shared->set_access(std::make_shared<const Access>(std::move(*table)));
  }
  void send_to_shared(std::string_view method, std::string_view target) {
    answer.reset();
    shared->handle(make(method, target), [this](Response response) { answer = std::move(response); });
    loop->run();
  }
  Response ask_shared(std::string_view method, std::string_view target) {
    send_to_shared(method, target);
    EXPECT_TRUE(answer.has_value()) << target;
    return answer.value_or(Response{});
  }
  static PresenceRow row(const std::string& id, const std::string& node, std::uint64_t epoch = 5) {
    return {*DeviceId::parse(id), {epoch}, true,  node, node + ".boot", 1'699'999'000'000, "",
            1'699'999'000'000,    0,       "2.0", {}};
  }
  void know(std::vector<PresenceRow> rows, std::map<std::string, bool> nodes) {
    FleetInbox::Content news;
    news.known = std::move(rows);
    news.fleet.emplace();
    news.fleet->as_of_unix_ms = 1'700'000'000'123;
    for (const auto& [name, is_live] : nodes) news.fleet->nodes.push_back({name, name + ".boot", "1", 1, 2, is_live});
    shared->apply(std::move(news));
    loop->run();
  }
  std::vector<std::string> ids(std::string_view query) {
    std::vector<std::string> out;
    const auto page = json(ask_shared("GET", "/api/v1/devices?" + std::string(query)));
    for (const auto& one : page.at("devices").as_array()) out.emplace_back(one.at("id").as_string());
    return out;
  }

  HeldPeers peers;
  FakeElsewhere elsewhere;
  std::unique_ptr<ApiHandler> shared;
};

using Ids = std::vector<std::string>;

TEST_F(FleetOfNodesTest, ListsEveryNodesDevicesAndSaysAsOfWhen) {
  know({row("a", "edge-2"), row("b", "edge-3")}, {{"edge-2", true}, {"edge-3", true}});
  const auto page = json(ask_shared("GET", "/api/v1/devices?count=true"));
  EXPECT_EQ(page.at("count").to_number<int>(), 2);
  EXPECT_EQ(page.at("as_of").as_string(), "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(ids("node=edge-3&online=true&firmware=2.0"), Ids{"b"});
  PresenceRow gone = row("a", "edge-2");
  gone.online = false;
  gone.reason = "bye";
  know({gone}, {{"edge-2", true}});
  EXPECT_EQ(ids("reason=bye"), Ids{"a"});
  EXPECT_FALSE(json(ask("GET", "/api/v1/devices")).contains("as_of")) << "one node alone is never behind";
}

TEST_F(FleetOfNodesTest, ShowsDevicesOfANodeThatNobodyVouchesForAsOffline) {
  know({row("a", "edge-2"), row("b", "edge-3")}, {{"edge-2", false}, {"edge-3", true}});
  EXPECT_EQ(ids("online=true"), Ids{"b"});
  EXPECT_EQ(ids("online=false"), Ids{"a"});
  EXPECT_EQ(ids("reason=node_lost"), Ids{"a"});
  EXPECT_EQ(ids("reason=node_lost&online=true"), Ids{});
  EXPECT_EQ(ids("reason=bye"), Ids{});
  EXPECT_EQ(ids("inactive=true"), Ids{"b"});
  EXPECT_EQ(shared->index().counts(clock.unix_ms()).online, 1U);
  send_to_shared("GET", "/api/v1/devices/a");
  ASSERT_EQ(peers.questions.size(), 1U);
  peers.questions[0].answer(encode_detail(detail_of("a", 5)));
  loop->run();
  ASSERT_TRUE(answer);
  const auto device = json(*answer);
  EXPECT_FALSE(device.at("online").as_bool());
  EXPECT_EQ(device.at("reason").as_string(), "node_lost");
  EXPECT_TRUE(device.at("live").is_null()) << "whoever says so";
  know({}, {{"edge-2", true}, {"edge-3", true}});
  EXPECT_EQ(ids("online=true"), (Ids{"a", "b"}));
}

TEST_F(FleetOfNodesTest, FetchesWhatOnlyTheOwnerHas) {
  know({row("a", "edge-2")}, {{"edge-2", true}});
  send_to_shared("GET", "/api/v1/devices/a");
  ASSERT_EQ(peers.questions.size(), 1U);
  EXPECT_EQ(peers.questions[0].node, "edge-2");
  EXPECT_EQ(peers.questions[0].kind, k_peer_device_live);
  EXPECT_EQ(peers.questions[0].body, "a");
  EXPECT_FALSE(answer);
  peers.questions[0].answer(encode_detail(detail_of("a", 5)));
  loop->run();
  ASSERT_TRUE(answer);
  const auto device = json(*answer);
  EXPECT_EQ(device.at("live").at("address").as_string(), "10.0.0.7:4000");
  EXPECT_EQ(device.at("last_values").as_array().size(), 6U);
  EXPECT_EQ(device.at("streams").as_array().at(0).at("received_through").as_string(), "8");
  EXPECT_EQ(device.at("last_data").as_string(), "2023-11-14T22:13:18.000Z") << "fresher than the store's";
  EXPECT_EQ(device.at("node").as_string(), "edge-2");
}

TEST_F(FleetOfNodesTest, SaysNothingLiveRatherThanWhatDoesNotFit) {
  know({row("a", "edge-2")}, {{"edge-2", true}});
  DeviceDetail forged = detail_of("a", k_epoch_max);
  const std::vector<Result<std::string>> answers{encode_detail(detail_of("a", 4)),
                                                 encode_detail(forged),
                                                 encode_detail(detail_of("b", 5)),
                                                 std::string("{}"),
                                                 std::string(),
                                                 make_error(Errc::timed_out, "late")};
  for (const Result<std::string>& said : answers) {
    peers.questions.clear();
    send_to_shared("GET", "/api/v1/devices/a");
    ASSERT_EQ(peers.questions.size(), 1U);
    peers.questions[0].answer(said);
    loop->run();
    ASSERT_TRUE(answer);
    const auto device = json(*answer);
    EXPECT_TRUE(device.at("online").as_bool()) << "that the store says";
    EXPECT_EQ(device.at("epoch").as_string(), "5");
    EXPECT_TRUE(device.at("live").is_null());
    EXPECT_TRUE(device.at("last_values").is_null());
  }
  send_to_shared("GET", "/api/v1/devices/a/telemetry/latest");
  EXPECT_FALSE(answer);
  loop->let_time_pass();
  ASSERT_TRUE(answer);
  EXPECT_EQ(problem(*answer), "/problems/live-data-unavailable");
}

TEST_F(FleetOfNodesTest, EndsAConnectionWhereverItIs) {
  EXPECT_EQ(ask_shared("DELETE", "/api/v1/devices/a/session").status, 204U);
  EXPECT_EQ(elsewhere.kicked, Ids{"a"});
  downlink.set_online("b");
  EXPECT_EQ(ask_shared("DELETE", "/api/v1/devices/b/session").status, 204U);
  EXPECT_EQ(elsewhere.kicked, Ids{"a"}) << "it was here";
  elsewhere.outcome = false;
  EXPECT_EQ(problem(ask_shared("DELETE", "/api/v1/devices/a/session")), "/problems/device-offline");
  elsewhere.outcome = make_error(Errc::unavailable, "away");
  EXPECT_EQ(problem(ask_shared("DELETE", "/api/v1/devices/a/session")), "/problems/store-unavailable");
}

TEST(PeerDetail, ComesThroughAsItWas) {
  const DeviceDetail sent = detail_of("a", 5);
  const auto got = decode_detail(sent.summary.id, encode_detail(sent));
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(encode_detail(*got), encode_detail(sent));
  EXPECT_EQ(got->frames_received, sent.frames_received);
  ASSERT_EQ(got->last_values.size(), sent.last_values.size());
  for (std::size_t i = 0; i < sent.last_values.size(); ++i) {
    EXPECT_EQ(got->last_values[i].value, sent.last_values[i].value);
    EXPECT_EQ(got->last_values[i].quality, sent.last_values[i].quality);
  }
}

TEST(PeerDetail, TellsWhoIsAwaitedAndKnowsThatEarlierVersionsDoNot) {
  DeviceDetail sent = detail_of("a", 5);
  sent.reconnecting = true;
  std::string body = encode_detail(sent);
  const auto got = decode_detail(sent.summary.id, body);
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->reconnecting);
  const std::string member = "\"reconnecting\":true,";
  ASSERT_NE(body.find(member), std::string::npos);
  body.erase(body.find(member), member.size());
  const auto earlier = decode_detail(sent.summary.id, body);
  ASSERT_TRUE(earlier.has_value());
  EXPECT_FALSE(earlier->reconnecting);
}

TEST(PeerDetail, LeavesOutValuesBeyondWhatAMessageMayHold) {
  DeviceDetail large = detail_of("a", 5);
  for (int i = 0; i < 100; ++i)
    large.last_values.push_back({"v" + std::to_string(i), std::string(1'000, 'x'), 1, "good"});
  const std::string body = encode_detail(large);
  EXPECT_LE(body.size(), k_peer_body_bytes_max);
  const auto got = decode_detail(large.summary.id, body);
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->truncated);
  EXPECT_GT(got->last_values.size(), 20U);
}

TEST(PeerDetail, RefusesWhatIsCutOffOrChanged) {
  const DeviceDetail sent = detail_of("a", 5);
  const std::string body = encode_detail(sent);
  for (std::size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(decode_detail(sent.summary.id, std::string_view(body).substr(0, size)).has_value()) << size;
  }
  for (const auto& [what, instead] :
       std::vector<std::pair<std::string, std::string>>{{"\"epoch\":5", "\"epoch\":-5"},
                                                        {"\"epoch\":5", "\"epoch\":18446744073709551615"},
                                                        {"\"quality\":2", "\"quality\":3"},
                                                        {"\"00ff\"", "\"0ff\""},
                                                        {"\"00ff\"", "\"zz\""},
                                                        {"\"heartbeat\":30", "\"heartbeat\":\"30\""},
                                                        {"\"reconnecting\":false", "\"reconnecting\":0"},
                                                        {"\"online\":true", "\"online\":1"}}) {
    std::string changed = body;
    const auto at = changed.find(what);
    ASSERT_NE(at, std::string::npos) << what;
    changed.replace(at, what.size(), instead);
    EXPECT_FALSE(decode_detail(sent.summary.id, changed).has_value()) << instead;
  }
}

TEST(PeerDetail, IsServedFromTheShards) {
  HeldPeers peers;
  FakeLiveDevices live;
  live.put(detail_of("a", 5));
  serve_details(peers, live);
  std::vector<Result<std::string>> answers;
  const auto ask = [&](const std::string& body) {
    peers.handlers.at(std::string(k_peer_device_live))(
        {"edge-2", "boot", body}, [&](Result<std::string> said) { answers.push_back(std::move(said)); });
  };
  ask("a");
  ask("nobody");
  ask("not an id");
  peers.handlers.at(std::string(k_peer_device_live))({"edge-2", "boot", "a"}, {});  // a tell: nobody listens
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0].value(), encode_detail(detail_of("a", 5)));
  EXPECT_EQ(answers[1].error().code, Errc::not_found);
  EXPECT_EQ(answers[2].error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace fieldgate::http
