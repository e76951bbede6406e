// SPDX-License-Identifier: Apache-2.0
//
// The API as its clients see it: curl, and a check against openapi.json.
#include "adapters/http/api_server.h"
#include "tests/integration/http/http_client.h"
#include "tests/support/fake_control.h"
#include "tests/support/http_fakes.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;

class ApiServerTest : public testing::Test {
 protected:
  void start(const std::function<void(ApiSettings&)>& change = {}) {
    settings.listen = {"127.0.0.1", 0};
    settings.token_file = token_file;
    settings.cors_origins = {"https://ops.example"};
    if (change) change(settings);
    server = std::make_unique<ApiServer>(settings, seconds(300),
                                         ApiPorts{live, status, lanes, clock, log, probe, control.ports(), &downlink});
    server->changed({online_summary(), offline_summary()});
    live.put(online_detail());
    const auto started = server->start();
    ASSERT_TRUE(started.has_value()) << started.error().detail;
    port = *started;
    base = (settings.certificate_file.empty() ? "http://127.0.0.1:" : "https://127.0.0.1:") + std::to_string(port);
  }

  CurlAnswer get(const std::string& path, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"-H", "Authorization: Bearer secret", base + path});
    return curl(more);
  }

  TempDir dir;
  std::string token_file =
      dir.write("tokens", "ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n");
  ApiSettings settings;
  FakeLiveDevices live;
  FakeNodeStatus status;
  FakeLaneControl lanes{status};
  FakeClock clock;
  SilentLog log;
  HttpProbe probe;
  FakeControl control;
  FakeDownlink downlink;
  std::unique_ptr<ApiServer> server;
  std::uint16_t port = 0;
  std::string base;
};

TEST_F(ApiServerTest, AnswersAsItsOpenApiDocumentSays) {
  // printf %s other | sha256sum
  dir.write("tokens",
            "ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b admin\n"
            "wall sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa read\n");
  lanes.store.add(letter_of("gone"));
  for (int i = 0; i < 8; ++i) lanes.store.add(letter_of("main"));
  DeadLetter stale = letter_of("archive");
  stale.kind = RecordKind::state;
  lanes.store.add(stale);
  lanes.room = 4;
  control.room = 6;
  control.patience_is_over = true;
  control.add_history(*DeviceId::parse("sensor-1"), 5);
  downlink.set_online("sensor-1");
  start();
  const auto [exit_status, output] = run_command({"/usr/bin/python3", "tests/integration/http/check_openapi.py", base,
                                                  "secret", "other", "adapters/http/openapi.json"});
  EXPECT_EQ(exit_status, 0) << output;
}

TEST_F(ApiServerTest, ServesItsDocumentByteForByte) {
  start();
  const auto [exit_status, output] = run_command(
      {"sh", "-c",
       "curl -sS -H 'Authorization: Bearer secret' " + base + "/openapi.json | cmp - adapters/http/openapi.json"});
  EXPECT_EQ(exit_status, 0) << output;
}

TEST_F(ApiServerTest, CompressesForWhoAsks) {
  start();
  const CurlAnswer plain = get("/openapi.json");
  const CurlAnswer packed = get("/openapi.json", {"--compressed"});
  EXPECT_EQ(packed.header("content-encoding"), "gzip");
  EXPECT_EQ(packed.body, plain.body);
  EXPECT_LT(std::stoul(packed.header("content-length")), std::stoul(plain.header("content-length")) / 3);
  EXPECT_EQ(packed.header("etag"), plain.header("etag"));
}

TEST_F(ApiServerTest, TellsAClientThatItHasTheNewestAlready) {
  start();
  const CurlAnswer first = get("/api/v1/devices/sensor-1");
  EXPECT_EQ(first.status, 200U);
  const std::string known = "If-None-Match: " + first.header("etag");
  const CurlAnswer again = get("/api/v1/devices/sensor-1", {"-H", known});
  EXPECT_EQ(again.status, 304U);
  EXPECT_TRUE(again.body.empty());
  DeviceDetail moved = online_detail();
  moved.frames_received += 1;
  live.put(moved);
  EXPECT_EQ(get("/api/v1/devices/sensor-1", {"-H", known}).status, 200U);
}

TEST_F(ApiServerTest, SetsTheHeadersThatKeepAnswersToThemselves) {
  start();
  const CurlAnswer answer = get("/api/v1/devices", {"-H", "Origin: https://ops.example"});
  EXPECT_EQ(answer.header("x-content-type-options"), "nosniff");
  EXPECT_EQ(answer.header("cache-control"), "no-store");
  EXPECT_EQ(answer.header("access-control-allow-origin"), "https://ops.example");
  EXPECT_NE(answer.header("vary").find("Origin"), std::string::npos);
  const CurlAnswer evil = get("/api/v1/devices", {"-H", "Origin: https://evil.example"});
  EXPECT_EQ(evil.status, 200U);
  EXPECT_EQ(evil.header("access-control-allow-origin"), "");
  const CurlAnswer preflight = curl({"-X", "OPTIONS", "-H", "Origin: https://ops.example", "-H",
                                     "Access-Control-Request-Method: GET", base + "/api/v1/devices"});
  EXPECT_EQ(preflight.status, 204U);
  EXPECT_EQ(preflight.header("allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(preflight.header("access-control-allow-headers"),
            "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID");
  EXPECT_EQ(answer.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
  EXPECT_EQ(answer.header("x-frame-options"), "DENY");
  EXPECT_EQ(answer.header("referrer-policy"), "no-referrer");
  const CurlAnswer write = curl({"-X", "OPTIONS", "-H", "Origin: https://ops.example", "-H",
                                 "Access-Control-Request-Method: DELETE", base + "/api/v1/dead-letters/1"});
  EXPECT_EQ(write.status, 204U);
  EXPECT_EQ(write.header("access-control-allow-methods"), "GET, HEAD, DELETE, OPTIONS");
  EXPECT_EQ(write.header("allow"), "GET, HEAD, DELETE, OPTIONS");
}

TEST_F(ApiServerTest, RefusesABodyHoweverItIsSentAndTakesAnEmptyOne) {
  start();
  for (const char* body : {"Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"}) {
    RawClient client(port);
    client.send("GET /api/v1/lanes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n" + std::string(body));
    const std::string answer = client.read_until("\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  }
  for (const char* body : {"Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    RawClient client(port);
    client.send("GET /api/v1/lanes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n" + std::string(body));
    const std::string answer = client.read_until("\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  }
}

TEST_F(ApiServerTest, AnswersWithinTheLiveDeadlineWhenAShardDoesNot) {
  start();
  live.set_mute(true);
  const auto begun = std::chrono::steady_clock::now();
  const CurlAnswer answer = get("/api/v1/devices/sensor-1");
  EXPECT_EQ(answer.status, 200U);
  EXPECT_NE(answer.body.find("\"live\":null"), std::string::npos);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, milliseconds(450));
  const CurlAnswer latest = get("/api/v1/devices/sensor-1/telemetry/latest");
  EXPECT_EQ(latest.status, 503U);
  EXPECT_EQ(latest.header("retry-after"), "1");
  EXPECT_NE(latest.body.find("/problems/live-data-unavailable"), std::string::npos);
  server->stop();
  for (const auto& late : live.take_kept()) late(online_detail());
}

TEST_F(ApiServerTest, ShowsChangesFromOtherThreads) {
  start();
  std::vector<std::thread> shards;
  for (int shard = 0; shard < 4; ++shard) {
    shards.emplace_back([this, shard] {
      for (int i = 0; i < 250; ++i) {
        DeviceSummary d{*DeviceId::parse("d" + std::to_string(shard) + "-" + std::to_string(i))};
        d.online = true;
        d.epoch = {1};
        server->changed({d});
        server->seen({{d.id, {1}, 1'700'000'000'000, 0}});
      }
    });
  }
  for (std::thread& shard : shards) shard.join();
  const CurlAnswer answer = get("/api/v1/devices?prefix=d&count=true&limit=1&sort=-last_seen");
  EXPECT_NE(answer.body.find("\"count\":1000"), std::string::npos) << answer.body;
  EXPECT_NE(answer.body.find("\"last_seen\":\"2023-11-14T22:13:20.000Z\""), std::string::npos) << answer.body;
}

TEST_F(ApiServerTest, TakesNewTokensOnReloadAndKeepsTheOldOnesIfTheyAreWrong) {
  start();
  dir.write("tokens", "ops sha256:nonsense\n");
  const auto wrong = server->reload();
  ASSERT_FALSE(wrong.has_value());
  EXPECT_NE(wrong.error().detail.find("tokens:1:"), std::string::npos) << wrong.error().detail;
  EXPECT_EQ(get("/api/v1/nodes").status, 200U);
  // printf %s other | sha256sum
  dir.write("tokens", "ops sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa\n");
  ASSERT_TRUE(server->reload().has_value());
  EXPECT_EQ(get("/api/v1/nodes").status, 401U);
  EXPECT_EQ(curl({"-H", "Authorization: Bearer other", base + "/api/v1/nodes"}).status, 200U);
}

TEST_F(ApiServerTest, HoldsNoConnectionForWhoHasNoToken) {
  start();
  RawClient client(port);
  client.send("GET /api/v1/nodes HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string answer = client.read_all();  // throws if the connection stays open
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 401 ")) << answer;
}

TEST_F(ApiServerTest, DoesNotStartWithoutAToken) {
  settings.listen = {"127.0.0.1", 0};
  ApiServer tokenless(settings, seconds(300), ApiPorts{live, status, lanes, clock, log, probe});
  const auto started = tokenless.start();
  ASSERT_FALSE(started.has_value());
  EXPECT_NE(started.error().detail.find("set api.token_file or api.jwt"), std::string::npos) << started.error().detail;
}

class ApiTlsTest : public ApiServerTest {
 protected:
  void use(const Authority& authority) {
    const Identity identity = authority.server();
    dir.write("api.pem", identity.certificate);
    dir.write("api.key", identity.key);
  }
  void start_tls() {
    start([this](ApiSettings& api) {
      api.certificate_file = dir.file("api.pem");
      api.key_file = dir.file("api.key");
      api.request_timeout = seconds(1);
    });
  }
};

TEST_F(ApiTlsTest, ServesHttpsAndNothingOlderThanTls12) {
  const Authority authority;
  use(authority);
  const std::string ca = dir.write("ca.pem", authority.certificate());
  start_tls();
  for (const char* version : {"--tlsv1.2", "--tlsv1.3"}) {
    const CurlAnswer answer = get("/api/v1/nodes", {"--cacert", ca, version});
    EXPECT_EQ(answer.status, 200U) << answer.body;
  }
  EXPECT_EQ(get("/openapi.json", {"--cacert", ca, "--compressed"}).status, 200U);
  EXPECT_NE(get("/api/v1/nodes", {"--cacert", ca, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"}).exit_status,
            0);
  // No suite without AEAD; and the order is the server's.
  for (const char* weak : {"ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"}) {
    EXPECT_NE(get("/api/v1/nodes", {"--cacert", ca, "--tls-max", "1.2", "--ciphers", weak}).exit_status, 0) << weak;
  }
  const auto [exit_status, said] =
      run_command({"curl", "-sSv", "-q", "--noproxy", "*", "--max-time", "10", "--cacert", ca, "--tls-max", "1.2",
                   "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256", base + "/openapi.json"});
  EXPECT_EQ(exit_status, 0) << said;
  EXPECT_NE(said.find("TLSv1.2 / ECDHE-ECDSA-AES128-GCM-SHA256"), std::string::npos) << said.substr(0, 4'096);
  EXPECT_NE(get("/api/v1/nodes").exit_status, 0);  // not a certificate that the system trusts
  RawClient plain(port);
  plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(plain.read_all().find("HTTP/1.1"), std::string::npos);
}

TEST_F(ApiTlsTest, GivesUpOnAHandshakeThatStalls) {
  use(Authority());
  start_tls();
  RawClient silent(port);
  silent.send("\x16\x03\x01");
  const auto begun = std::chrono::steady_clock::now();
  silent.read_all();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(3));
}

TEST_F(ApiTlsTest, TakesANewCertificateOnReload) {
  use(Authority("old"));
  start_tls();
  const Authority fresh("new");
  const std::string ca = dir.write("ca.pem", fresh.certificate());
  EXPECT_NE(get("/api/v1/nodes", {"--cacert", ca}).exit_status, 0);
  dir.write("api.key", "broken");
  EXPECT_FALSE(server->reload().has_value());
  use(fresh);
  ASSERT_TRUE(server->reload().has_value());
  EXPECT_EQ(get("/api/v1/nodes", {"--cacert", ca}).status, 200U);
}

TEST_F(ApiTlsTest, SaysWhatIsWrongWithACertificate) {
  const Identity one = Authority().server();
  const Identity other = Authority().server();
  settings.listen = {"127.0.0.1", 0};
  settings.token_file = token_file;
  settings.certificate_file = dir.write("api.pem", one.certificate);
  const auto detail = [this](const std::string& key) {
    settings.key_file = key;
    ApiServer api(settings, seconds(300), ApiPorts{live, status, lanes, clock, log, probe});
    const auto started = api.start();
    return started ? std::string("started") : started.error().detail;
  };
  EXPECT_NE(detail("").find("needs both"), std::string::npos);
  EXPECT_NE(detail("/nonexistent.key").find("/nonexistent.key cannot be used"), std::string::npos);
  EXPECT_NE(detail(dir.write("other.key", other.key)).find("cannot be used"), std::string::npos);
  EXPECT_EQ(detail(dir.write("api.key", one.key)), "started");
}

}  // namespace
}  // namespace fieldgate::http
