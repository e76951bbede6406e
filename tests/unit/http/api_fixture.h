// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/api_handler.h"
#include "adapters/http/request_gate.h"
#include "tests/support/fake_control.h"
#include "tests/support/http_fakes.h"
#include "tests/support/lane_fakes.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::http {

// Runs what is posted when told to; timers when time is told to pass.
class StepLoop final : public Loop {
 public:
  void post(std::function<void()> fn) override { ready_.push_back(std::move(fn)); }
  void after(std::chrono::milliseconds, std::function<void()> fn) override { timers_.push_back(std::move(fn)); }
  void run() {
    for (; !ready_.empty(); ready_.pop_front()) ready_.front()();
  }
  void let_time_pass() {
    for (const auto& fn : std::exchange(timers_, {})) fn();
    run();
  }

 private:
  std::deque<std::function<void()>> ready_;
  std::vector<std::function<void()>> timers_;
};

// A handler with a store in memory, and three tokens: "secret" (admin), "other" (read)
// and "third" (command).
class ApiFixture : public testing::Test {
 protected:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  void SetUp() override {
    auto table = TokenTable::parse(
        "ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b admin\n"
        "wall sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa\n"
        "app sha256:b1e99324505bd32da0e1f85dcf5e19a09db0481e8a15f62c41eb320304a8e927 command\n",
        "t");
    ASSERT_TRUE(table.has_value());
    handler.set_access(std::make_shared<const Access>(std::move(*table)));
  }

  static Request make(std::string_view method, std::string_view target, std::string body = {}, Headers headers = {},
                      std::string_view token = "secret") {
    Request r;
    r.head.method = method;
    r.head.target = target;
    r.head.headers = std::move(headers);
    r.head.headers.emplace_back("authorization", "Bearer " + std::string(token));
    r.target = *parse_target(target);
    r.body = std::move(body);
    r.id = "cafe0000-1";
    r.peer = "127.0.0.1:4000";
    return r;
  }

  // The answer, if there is one by now.
  std::optional<Response>& send(const Request& request) {
    answer.reset();
    handler.handle(request, [this](Response response) {
      EXPECT_FALSE(answer.has_value()) << "answered twice";
      answer = std::move(response);
    });
    loop->run();
    return answer;
  }
  Response ask(std::string_view method, std::string_view target, std::string body = {}, Headers headers = {},
               std::string_view token = "secret") {
    send(make(method, target, std::move(body), std::move(headers), token));
    EXPECT_TRUE(answer.has_value()) << method << ' ' << target;
    return answer.value_or(Response{});
  }

  static boost::json::object json(const Response& response) { return boost::json::parse(response.body).as_object(); }
  static std::string problem(const Response& response) {
    EXPECT_EQ(response.content_type, "application/problem+json") << response.body;
    if (response.content_type != "application/problem+json") return {};
    const auto body = json(response);
    EXPECT_EQ(body.at("status").to_number<unsigned>(), response.status);
    return std::string(body.at("type").as_string());
  }
  // The pointers of the members at fault, in order.
  static std::vector<std::string> pointers(const Response& response) {
    std::vector<std::string> out;
    const boost::json::object body = json(response);
    if (const auto* errors = body.if_contains("errors")) {
      for (const auto& error : errors->as_array()) out.emplace_back(error.at("pointer").as_string());
    }
    return out;
  }
  static std::string header(const Response& response, std::string_view name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "(none)";
  }

  // What a source gives until it ends; the loop runs in between.
  std::string drain(const Response& response) {
    std::string out;
    bool more = response.source != nullptr;
    for (int i = 0; more && i < 10'000; ++i) {
      bool given = false;
      response.source->next([&](BodyPiece piece) {
        given = true;
        out += piece.bytes;
        more = piece.then == BodyPiece::Then::more;
        if (piece.then == BodyPiece::Then::broken) out += "(broken)";
      });
      loop->run();
      if (!given) return out + "(waits)";
    }
    return out;
  }

  std::shared_ptr<StepLoop> loop = std::make_shared<StepLoop>();
  test::FakeLiveDevices live;
  test::FakeNodeStatus status;
  test::FakeClock clock;
  test::TextLog log;
  test::FakeLaneControl lanes{status};
  HttpProbe probe;
  test::FakeControl control;
  test::FakeDownlink downlink;
  ApiHandler handler{loop, 300'000, ApiPorts{live, status, lanes, clock, log, probe, control.ports(), &downlink}};
  std::optional<Response> answer;
};

}  // namespace fieldgate::http
