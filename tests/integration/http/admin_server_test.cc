// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/admin_server.h"
#include "tests/integration/http/http_client.h"
#include "tests/support/http_fakes.h"

#include <gtest/gtest.h>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;

class AdminServerTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto started = server.start();
    ASSERT_TRUE(started.has_value()) << started.error().detail;
    base = "http://127.0.0.1:" + std::to_string(*started);
  }

  FakeNodeStatus status;
  FakeClock clock;
  SilentLog log;
  std::atomic<bool> alive{true};
  AdminServer server{AdminSettings{{"127.0.0.1", 0}}, status, [] { return std::string("a_total 1\n"); },
                     [this] { return alive.load(); }, clock,  log};
  std::string base;
};

TEST_F(AdminServerTest, GivesTheMetricsInPrometheusTextFormat) {
  const CurlAnswer answer = curl({base + "/metrics?from=anywhere"});
  EXPECT_EQ(answer.status, 200U);
  EXPECT_EQ(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(answer.body, "a_total 1\n");
}

TEST_F(AdminServerTest, IsAliveWhileTheShardsTurnOver) {
  EXPECT_EQ(curl({base + "/livez"}).status, 200U);
  alive = false;
  EXPECT_EQ(curl({base + "/livez"}).status, 503U);
}

TEST_F(AdminServerTest, IsReadyWhileNothingBlocksAndShowsWhatIsWrong) {
  const CurlAnswer ready = curl({base + "/readyz"});
  EXPECT_EQ(ready.status, 200U);
  EXPECT_EQ(ready.body,
            "{\"ready\":true,\"reasons\":[{\"name\":\"lane_down\",\"text\":\"lane \\\"main\\\" is backing off\","
            "\"blocks\":false}]}");
  status.ready = false;
  const CurlAnswer draining = curl({base + "/readyz"});
  EXPECT_EQ(draining.status, 503U);
  EXPECT_NE(draining.body.find("\"draining\""), std::string::npos);
}

TEST_F(AdminServerTest, HasNothingElse) {
  EXPECT_EQ(curl({base + "/"}).status, 404U);
  EXPECT_EQ(curl({base + "/metrics/x"}).status, 404U);
  EXPECT_EQ(curl({base + "/api/v1/devices"}).status, 404U);
  const CurlAnswer post = curl({"-X", "POST", base + "/metrics"});
  EXPECT_EQ(post.status, 405U);
  EXPECT_EQ(post.header("allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(curl({"-I", base + "/metrics"}).status, 200U);
  EXPECT_EQ(curl({"-X", "OPTIONS", base + "/metrics"}).status, 204U);
}

}  // namespace
}  // namespace fieldgate::http
