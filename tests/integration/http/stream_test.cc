// SPDX-License-Identifier: Apache-2.0
//
// The live stream as its readers see it, over real sockets.
#include "adapters/http/api_server.h"
#include "tests/integration/http/http_client.h"
#include "tests/support/http_fakes.h"
#include "tests/support/northbound_records.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;
using std::chrono::steady_clock;

class StreamTest : public testing::Test {
 protected:
  void start(const std::function<void(ApiSettings&)>& change = {}) {
    settings.listen = {"127.0.0.1", 0};
    settings.token_file = dir.write("tokens", k_tokens);
    if (change) change(settings);
    server = std::make_unique<ApiServer>(settings, seconds(300), ApiPorts{live, status, lanes, clock, log, probe});
    server->changed({online_summary(), offline_summary()});
    const auto started = server->start();
    ASSERT_TRUE(started.has_value()) << started.error().detail;
    port = *started;
  }
  void TearDown() override {
    server.reset();
    EXPECT_EQ(probe.connections.get(), 0);
    EXPECT_EQ(probe.stream_subscribers.get(), 0);
  }

  std::unique_ptr<RawClient> reader(const std::string& query = {}, const std::string& headers = {}) {
    auto client = std::make_unique<RawClient>(port);
    client->send("GET /api/v1/stream" + query + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n" + headers +
                 "\r\n");
    return client;
  }
  DeviceSummary device(const std::string& id, std::uint64_t epoch, bool online = true) {
    DeviceSummary out{*DeviceId::parse(id)};
    out.online = online;
    out.epoch = {epoch};
    out.since_unix_ms = 1'700'000'000'000;
    if (!online) out.reason = "heartbeat_lost";
    return out;
  }
  TappedRecord tapped(const std::string& id, std::uint64_t seq) {
    const OwnedRecord record = telemetry(id, seq);
    TappedRecord out;
    out.device = id;
    out.stream = {7};
    out.seq = {seq};
    out.received_unix_ms = 1'700'000'000'000;
    const auto bytes = std::as_bytes(std::span(record.payload));
    out.payload.assign(bytes.begin(), bytes.end());
    return out;
  }
  template <class Condition>
  bool eventually(Condition condition) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
      if (steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(5));
    }
    return true;
  }

  // "secret" and "other".
  static constexpr std::string_view k_tokens =
      "ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n"
      "wall sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa read\n";
  TempDir dir;
  ApiSettings settings = [] {
    ApiSettings api;
    api.connections_per_address_max = 0;  // all readers are here
    return api;
  }();
  FakeLiveDevices live;
  FakeNodeStatus status;
  FakeLaneControl lanes{status};
  FakeClock clock;
  SilentLog log;
  HttpProbe probe;
  std::unique_ptr<ApiServer> server;
  std::uint16_t port = 0;
};

std::string last_id(const std::string& text) {
  const std::size_t at = text.rfind("id: ");
  return text.substr(at + 4, text.find('\n', at) - at - 4);
}

TEST_F(StreamTest, TellsWhoComesAndGoesAndWhatBecomesOfCommandsTwinsAndLanes) {
  start();
  const auto client = reader("?kinds=presence,command,lane,twin,registry");
  std::string text = client->read_until("event: hello");
  EXPECT_NE(text.find("Content-Type: text/event-stream; charset=utf-8\r\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Cache-Control: no-store\r\n"), std::string::npos) << text;
  server->changed({device("new-1", 8)});
  client->read_until("\"device\":\"new-1\",\"online\":true,\"epoch\":\"8\"");
  server->changed({device("new-1", 8, false)});
  client->read_until("\"online\":false,\"epoch\":\"8\",\"time\":\"2023-11-14T22:13:20.000Z\"");
  client->read_until("\"reason\":\"heartbeat_lost\"");
  CommandEntry command{"c-1", *DeviceId::parse("new-1"), "reboot"};
  command.state = CommandState::sent;
  command.steps = {{CommandState::sent, 1'700'000'000'000, {8}, "on its way"}};
  server->command_changed(std::make_shared<const CommandEntry>(command));
  client->read_until(
      "event: command\ndata: {\"device\":\"new-1\",\"id\":\"c-1\",\"name\":\"reboot\",\"state\":\"sent\"");
  Twin twin{*DeviceId::parse("new-1")};
  twin.desired_version = 4;
  server->twin_changed(std::make_shared<const Twin>(twin));
  client->read_until("\"desired_version\":4");
  const DeviceEntry entry{*DeviceId::parse("new-1"), true, {{"site", "berlin"}}, ""};
  server->registry_changed({{entry.id, 12, entry}});
  client->read_until("\"registered\":true,\"revision\":12,\"enabled\":true,\"labels\":{\"site\":\"berlin\"}");
  status.hold("main", true);
  client->read_until("event: lane\ndata: {\"name\":\"main\"");
}

TEST_F(StreamTest, TellsTheRecordsOfDevicesThatAreNamed) {
  start();
  const auto client = reader("?kinds=telemetry&device=sensor-1&device=sensor-9");
  client->read_until("event: hello");
  ASSERT_TRUE(eventually([&] { return live.watched() != nullptr && live.watched()->size() == 2; }));
  server->tapped(tapped("sensor-1", 12));
  server->tapped(tapped("sensor-2", 13));  // of a device that was watched a moment ago
  TappedRecord broken = tapped("sensor-1", 14);
  broken.payload = {std::byte{0xff}};
  server->tapped(std::move(broken));
  server->tapped(tapped("sensor-9", 15));
  const std::string text = client->read_until("\"seq\":15");
  EXPECT_NE(text.find("event: telemetry\ndata: {\"device\":\"sensor-1\",\"stream\":\"7\",\"seq\":12"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("\"seq\":13"), std::string::npos) << text;
  EXPECT_EQ(text.find("\"seq\":14"), std::string::npos) << text;
}

TEST_F(StreamTest, GoesOnWhereAReaderWas) {
  start();
  auto first = reader();
  first->read_until("event: hello");
  server->changed({device("a", 1), device("b", 1)});
  const std::string before = first->read_until("\"device\":\"b\"");
  const std::string id = last_id(before);
  EXPECT_TRUE(id.starts_with("edge-1.b00t.")) << id;
  first.reset();
  ASSERT_TRUE(eventually([&] { return probe.stream_subscribers.get() == 0; }));
  server->changed({device("c", 1)});
  const auto again = reader("", "Last-Event-ID: " + id + "\r\n");
  const std::string text = again->read_until("\"device\":\"c\"");
  EXPECT_EQ(text.find("\"device\":\"b\""), std::string::npos) << text;
  const auto query = reader("?last_event_id=" + id);
  query->read_until("\"device\":\"c\"");
  const auto stranger = reader("", "Last-Event-ID: edge-1.other.5\r\n");
  stranger->read_until("event: reset");
}

TEST_F(StreamTest, HoldsNobodyUpForAReaderThatDoesNotRead) {
  start();
  const auto slow = reader();
  const auto quick = reader();
  slow->read_until("event: hello");
  quick->read_until("event: hello");
  // More than the kernel keeps for it (some 2,000 of these) and the history together.
  for (std::uint64_t epoch = 1; epoch <= 15; ++epoch) {
    std::vector<DeviceSummary> many;
    for (int i = 0; i < 1'000; ++i) many.push_back(device("d" + std::to_string(i), epoch));
    server->changed(std::move(many));
    quick->read_until("\"device\":\"d999\",\"online\":true,\"epoch\":\"" + std::to_string(epoch) + "\"");
  }
  EXPECT_EQ(quick->read_until("hello").find("event: missed"), std::string::npos);
  server->changed({device("last", 1)});
  const std::string text = slow->read_until("\"device\":\"last\"");
  EXPECT_NE(text.find("event: missed\ndata: {\"count\":"), std::string::npos);
}

TEST_F(StreamTest, IsForThoseWithATokenAndOnlyAsLongAsItCounts) {
  start();
  RawClient stranger(port);
  stranger.send("GET /api/v1/stream HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(stranger.read_all().starts_with("HTTP/1.1 401 "));
  const auto client = reader();
  client->read_until("event: hello");
  RawClient wall(port);
  wall.send("GET /api/v1/stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer other\r\n\r\n");
  wall.read_until("event: hello");
  dir.write("tokens", std::string(k_tokens.substr(0, k_tokens.find('\n') + 1)));
  ASSERT_TRUE(server->reload().has_value());
  wall.read_until("\r\n0\r\n\r\n");  // said to be over, not cut
  server->changed({device("a", 1)});
  client->read_until("\"device\":\"a\"");
}

TEST_F(StreamTest, SaysSoWhenAllStreamsAreTaken) {
  start([](ApiSettings& api) { api.stream.subscribers_max = 2; });
  auto first = reader();
  const auto second = reader();
  first->read_until("event: hello");
  second->read_until("event: hello");
  auto third = reader("", "Connection: close\r\n");
  const std::string text = third->read_all();
  EXPECT_TRUE(text.starts_with("HTTP/1.1 503 ")) << text;
  EXPECT_NE(text.find("Retry-After: "), std::string::npos) << text;
  EXPECT_NE(text.find("\"/problems/too-many-subscribers\""), std::string::npos) << text;
  first.reset();
  ASSERT_TRUE(eventually([&] { return probe.stream_subscribers.get() == 1; }));
  reader()->read_until("event: hello");
}

TEST_F(StreamTest, AnswersHeadWithoutOpeningAStream) {
  start();
  RawClient client(port);
  client.send("HEAD /api/v1/stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n");
  const std::string text = client.read_all();
  EXPECT_TRUE(text.starts_with("HTTP/1.1 200 ")) << text;
  EXPECT_EQ(text.find("event:"), std::string::npos) << text;
}

TEST_F(StreamTest, ServesAnHttp10ReaderToo) {
  start();
  RawClient client(port);
  client.send("GET /api/v1/stream HTTP/1.0\r\nAuthorization: Bearer secret\r\n\r\n");
  client.read_until("event: hello");
  server->changed({device("a", 1)});
  const std::string text = client.read_until("\"device\":\"a\"");
  EXPECT_EQ(text.find("Transfer-Encoding"), std::string::npos) << text;
}

TEST_F(StreamTest, BringsEachEventToHundredsOfReadersOnce) {
  constexpr int k_readers = 300;
  constexpr int k_events = 200;
  start();
  std::vector<std::unique_ptr<RawClient>> readers;
  for (int i = 0; i < k_readers; ++i) readers.push_back(reader());
  for (const auto& client : readers) client->read_until("event: hello");
  EXPECT_EQ(probe.stream_subscribers.get(), k_readers);
  for (int i = 0; i < k_events; ++i) server->changed({device("d" + std::to_string(i), 1)});
  for (const auto& client : readers) {
    const std::string text = client->read_until("\"device\":\"d" + std::to_string(k_events - 1) + "\"");
    std::size_t events = 0;
    for (std::size_t at = 0; (at = text.find("event: presence", at)) != std::string::npos; ++at) ++events;
    EXPECT_EQ(events, k_events);
  }
  EXPECT_EQ(probe.stream_sent.get(), static_cast<std::uint64_t>(k_readers) * k_events);
  EXPECT_EQ(probe.stream_missed.get(), 0U);
}

TEST_F(StreamTest, ShowsTheWholeInOneLook) {
  start();
  const CurlAnswer answer =
      curl({"-H", "Authorization: Bearer secret", "http://127.0.0.1:" + std::to_string(port) + "/api/v1/overview"});
  EXPECT_EQ(answer.status, 200U);
  for (const char* part :
       {"\"devices\":{\"known\":2,\"registered\":0,\"online\":1,", "\"connections\":{\"open\":5,\"handshakes\":1}",
        "\"ends\":{\"heartbeat_lost\":3},\"admitted\":9,\"records\":{\"telemetry\":1000,",
        "\"rejects\":{\"malformed\":2,", "\"uplink\":{\"level\":\"normal\",\"bytes\":4096,\"bytes_max\":1048576,",
        "\"spool\":{\"state\":\"ok\",", "\"lanes\":[{\"name\":\"main\"", "\"dead_letters\":{\"count\":0,\"bytes\":0}",
        "\"certificates\":[{\"name\":\"device_listener\",\"not_after\":\"2024-11-13T22:13:20.000Z\"}]",
        "\"store\":null", "\"stream\":{\"subscribers\":0}",
        "\"process\":{\"memory_bytes\":50000000,\"cpu_seconds\":1.5,\"uptime_seconds\":1000"}) {
    EXPECT_NE(answer.body.find(part), std::string::npos) << part << "\n" << answer.body;
  }
}

}  // namespace
}  // namespace fieldgate::http
