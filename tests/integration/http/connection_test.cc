// SPDX-License-Identifier: Apache-2.0
//
// What a client can do to the server with bytes and time alone.
#include "adapters/http/http_server.h"
#include "tests/integration/http/http_client.h"
#include "tests/support/http_fakes.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;
using std::chrono::steady_clock;

// Says which target it was asked for; at /large, a large answer; at /never, none;
// at /throw, an exception; at /held, what the test gives; at /later, an answer from a posted function.
class EchoHandler final : public Handler {
 public:
  void handle(const Request& request, Respond respond) override {
    if (request.head.target == "/never") return;
    if (request.head.target == "/throw") throw std::runtime_error("as told");
    Response response;
    if (request.head.target == "/held") {
      held.push_back(std::move(respond));
      ++asked;
      return;
    }
    response.body = "{\"target\":\"" + request.head.target + "\"}";
    if (request.head.target == "/large") response.body.assign(8 << 20, ' ');
    if (request.head.target == "/later") {
      loop->post([respond, response] {
        respond(response);
        respond(response);  // a second answer is nobody's
      });
      return;
    }
    respond(std::move(response));
  }
  std::shared_ptr<Loop> loop;
  std::vector<Respond> held;           // the loop's
  std::atomic<std::size_t> asked = 0;  // as many as are held
};

class ConnectionTest : public testing::Test {
 protected:
  void start(const std::function<void(ServerSettings&)>& change = {}) {
    ServerSettings settings;
    settings.name = "test";
    settings.header_bytes_max = 4'096;
    settings.body_bytes_max = 1'000;
    settings.request_timeout = milliseconds(5'000);
    settings.idle_timeout = milliseconds(5'000);
    if (change) change(settings);
    server = std::make_unique<HttpServer>(settings, handler, clock, log, probe);
    handler.loop = server->loop();
    const auto started = server->start();
    ASSERT_TRUE(started.has_value()) << started.error().detail;
    port = *started;
  }
  void TearDown() override {
    server.reset();
    EXPECT_EQ(probe.connections.get(), 0);
  }

  // All that comes back for these bytes, from a client that ends its side then.
  std::string exchange(std::string_view bytes) {
    RawClient client(port);
    client.send(bytes);
    client.shut();
    return client.read_all();
  }

  // Held against openapi.json.
  void expect_problem(const std::string& answer, std::string_view status, std::string_view type,
                      const std::string& described) {
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::string(status))) << answer;
    EXPECT_NE(answer.find("\"/problems/" + std::string(type) + "\""), std::string::npos) << answer;
    TempDir dir;
    const auto [exit_status, output] =
        run_command({"/usr/bin/python3", "tests/integration/http/check_problem.py", "adapters/http/openapi.json",
                     described, dir.write("answer", answer)});
    EXPECT_EQ(exit_status, 0) << output << "\n" << answer;
  }

  EchoHandler handler;
  FakeClock clock;
  SilentLog log;
  HttpProbe probe;
  std::unique_ptr<HttpServer> server;
  std::uint16_t port = 0;
};

std::size_t answers(const std::string& text) {
  std::size_t n = 0;
  for (std::size_t at = text.find("HTTP/1.1 "); at != std::string::npos; at = text.find("HTTP/1.1 ", at + 1)) ++n;
  return n;
}

TEST_F(ConnectionTest, AnswersPipelinedRequestsInTheirOrder) {
  start();
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    const bool later = i % 7 == 3;
    bytes += "GET /" + (later ? std::string("later") : std::to_string(i)) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }
  const std::string text = exchange(bytes);
  EXPECT_EQ(answers(text), 50U);
  std::size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    const std::string target = i % 7 == 3 ? "later" : std::to_string(i);
    at = text.find("{\"target\":\"/" + target + "\"}", at);
    ASSERT_NE(at, std::string::npos) << i;
    ++at;
  }
}

TEST_F(ConnectionTest, TakesARequestByteByByte) {
  start();
  RawClient client(port);
  const std::string_view request =
      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (const char c : request) ASSERT_TRUE(client.send({&c, 1}));
  client.send("GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string text = client.read_all();
  EXPECT_EQ(answers(text), 2U) << text;
  EXPECT_NE(text.find("/y"), std::string::npos);
}

TEST_F(ConnectionTest, NeverTakesABodyForTheNextRequest) {
  start();
  const std::string smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string length = std::to_string(smuggled.size());
  for (const std::string& head : {
           std::string("Transfer-Encoding: chunked, gzip\r\n"),
           std::string("Transfer-Encoding: gzip\r\n"),
           std::string("Transfer-Encoding: identity\r\n"),
           std::string("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
           std::string("Transfer-Encoding : chunked\r\n"),
           std::string("Transfer-Encoding:\r\n chunked\r\n"),
           "Content-Length: " + length + "\r\nTransfer-Encoding: chunked\r\n",
           "Content-Length: 0\r\nContent-Length: " + length + "\r\n",
           "Content-Length: " + length + "\r\nContent-Length: " + length + "\r\n",
           std::string("Content-Length: 0, 0\r\n"),
           std::string("Content-Length: +0\r\n"),
           std::string("Host: b\r\n"),
       }) {
    const std::string text = exchange("POST /first HTTP/1.1\r\nHost: a\r\n" + head + "\r\n" + smuggled);
    EXPECT_EQ(answers(text), 1U) << head << text;
    EXPECT_TRUE(text.starts_with("HTTP/1.1 400 ")) << head << text;
    EXPECT_EQ(text.find("smuggled"), std::string::npos) << head;
    EXPECT_NE(text.find("Connection: close"), std::string::npos) << head;
  }
  const std::string http10 = exchange("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled);
  EXPECT_EQ(answers(http10), 1U) << http10;
  const std::string hostless = exchange("GET / HTTP/1.1\r\n\r\n" + smuggled);
  EXPECT_EQ(answers(hostless), 1U) << hostless;
  // A body that is a request, correctly framed, is still a body.
  const std::string framed =
      exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + "\r\n\r\n" + smuggled);
  EXPECT_EQ(answers(framed), 1U) << framed;
  EXPECT_TRUE(framed.starts_with("HTTP/1.1 200 ")) << framed;
}

TEST_F(ConnectionTest, RefusesMalformedRequestsWithAProblemDocument) {
  start();
  for (const std::string_view bytes :
       {std::string_view("GET / HTTP/1.1\nHost: a\n\n"), std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7),
        std::string_view("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        std::string_view("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), std::string_view("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
        std::string_view("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"), std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        std::string_view("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")}) {
    expect_problem(exchange(bytes), "400 ", "malformed-request", "BadRequest");
  }
}

TEST_F(ConnectionTest, LeavesTheBodyOutOfAnAnswerToHead) {
  start();
  const std::string text = exchange("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(answers(text), 2U);
  EXPECT_EQ(text.find("\"/x\""), std::string::npos);
  EXPECT_NE(text.find("\"/y\""), std::string::npos);
}

TEST_F(ConnectionTest, InvitesABodyThatWaitsToBeInvited) {
  start();
  RawClient client(port);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  client.read_until("100 Continue\r\n\r\n");
  client.send("abc");
  client.read_until("200 OK");
}

TEST_F(ConnectionTest, RefusesHeadsAndBodiesThatAreTooLarge) {
  start();
  const std::string host = "GET / HTTP/1.1\r\nHost: a\r\n";
  expect_problem(exchange(host + "X: " + std::string(5'000, 'x') + "\r\n\r\n"), "431 ", "headers-too-large",
                 "HeadersTooLarge");
  expect_problem(exchange("GET /" + std::string(100'000, 'x')), "431 ", "headers-too-large", "HeadersTooLarge");
  expect_problem(exchange(host + "Content-Length: 1001\r\n\r\n" + std::string(1'001, 'x')), "413 ", "body-too-large",
                 "BodyTooLarge");
  expect_problem(exchange(host + "Content-Length: 18446744073709551615\r\n\r\n"), "413 ", "body-too-large",
                 "BodyTooLarge");
  std::string chunks;
  for (int i = 0; i < 300; ++i) chunks += "4\r\nabcd\r\n";
  expect_problem(exchange(host + "Transfer-Encoding: chunked\r\n\r\n" + chunks), "413 ", "body-too-large",
                 "BodyTooLarge");
  EXPECT_TRUE(exchange(host + "Content-Length: 1000\r\n\r\n" + std::string(1'000, 'x')).starts_with("HTTP/1.1 200 "));
}

TEST_F(ConnectionTest, DoesNotWaitLongerThanItsDeadlines) {
  start([](ServerSettings& settings) {
    settings.request_timeout = milliseconds(300);
    settings.idle_timeout = milliseconds(600);
  });
  const auto begun = steady_clock::now();
  RawClient silent(port);
  RawClient slow_head(port);
  RawClient slow_body(port);
  RawClient idle(port);
  RawClient dribbling(port);
  slow_head.send("GET / HTTP/1.1\r\nHo");
  slow_body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  idle.read_until("}");
  // One byte at a time does not move the deadline.
  std::thread dribble([&] {
    dribbling.send("GET / HTTP/1.1\r\nX: ");
    for (int i = 0; i < 20 && dribbling.send("x"); ++i) std::this_thread::sleep_for(milliseconds(50));
  });
  EXPECT_EQ(silent.read_all(), "");
  expect_problem(slow_head.read_all(), "408 ", "request-timeout", "RequestTimeout");
  expect_problem(slow_body.read_all(), "408 ", "request-timeout", "RequestTimeout");
  const std::string dribbled = dribbling.read_all();
  EXPECT_TRUE(dribbled.starts_with("HTTP/1.1 408 ")) << dribbled;
  EXPECT_EQ(answers(idle.read_all()), 1U);
  dribble.join();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(4));
}

TEST_F(ConnectionTest, GivesUpOnAClientThatDoesNotTakeItsAnswer) {
  start([](ServerSettings& settings) { settings.request_timeout = milliseconds(300); });
  RawClient client(port);
  client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto deadline = steady_clock::now() + std::chrono::seconds(4);
  client.read_until("200 OK");
  while (probe.connections.get() > 0 && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(probe.connections.get(), 0);
}

TEST_F(ConnectionTest, SaysSoWhenAnAnswerDoesNotCome) {
  start([](ServerSettings& settings) { settings.request_timeout = milliseconds(300); });
  expect_problem(exchange("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), "503 ", "answer-timeout", "Unavailable");
}

TEST_F(ConnectionTest, SurvivesAHandlerThatThrows) {
  start();
  expect_problem(exchange("GET /throw HTTP/1.1\r\nHost: a\r\n\r\n"), "500 ", "internal-error", "InternalError");
  EXPECT_TRUE(exchange("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

TEST_F(ConnectionTest, RefusesConnectionsWhileAllHaveARequestAtWorkAndTakesThemAgain) {
  start([](ServerSettings& settings) { settings.connections_max = 2; });
  {
    RawClient first(port);
    RawClient second(port);
    for (RawClient* client : {&first, &second}) {
      client->send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
      const auto deadline = steady_clock::now() + std::chrono::seconds(20);
      const std::size_t wanted = client == &first ? 1 : 2;
      while (handler.asked < wanted && steady_clock::now() < deadline) {
        std::this_thread::sleep_for(milliseconds(5));
      }
    }
    RawClient third(port);
    third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    third.shut();
    expect_problem(third.read_all(), "503 ", "too-many-connections", "Unavailable");
    EXPECT_EQ(probe.refused_full.get(), 1U);
    EXPECT_EQ(probe.displaced.get(), 0U);
    handler.loop->post([this] {
      for (const auto& respond : handler.held) respond({});
    });
    first.read_until("HTTP/1.1 ");
    second.read_until("HTTP/1.1 ");
  }
  const auto deadline = steady_clock::now() + std::chrono::seconds(4);
  while (probe.connections.get() > 0 && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_TRUE(exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

TEST_F(ConnectionTest, AnswersWhoeverAsksWhileOthersHoldAllConnectionsAndSendNothing) {
  start([](ServerSettings& settings) { settings.connections_max = 3; });
  std::vector<std::unique_ptr<RawClient>> holders;
  for (const std::string_view part : {"", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"}) {
    holders.push_back(std::make_unique<RawClient>(port));
    holders.back()->send(part);
    const auto deadline = steady_clock::now() + std::chrono::seconds(20);
    while (probe.connections.get() < static_cast<std::int64_t>(holders.size()) && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(5));
    }
  }
  for (std::uint64_t asked = 1; asked <= 3; ++asked) {
    RawClient client(port);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(client.read_until("}").starts_with("HTTP/1.1 200 "));
    if (asked == 1) {
      EXPECT_EQ(holders[0]->read_all(), "");  // the oldest one went
      EXPECT_FALSE(holders[2]->readable());
      EXPECT_EQ(probe.displaced.get(), 1U);
    }
  }
  EXPECT_EQ(probe.refused_full.get(), 0U);
}

TEST_F(ConnectionTest, AnswersWhoeverAsksWhileOthersHoldAllConnectionsAndTakeNoAnswers) {
  start([](ServerSettings& settings) {
    settings.connections_max = 3;
    settings.request_timeout = std::chrono::seconds(60);  // so that hardly anybody goes by himself
    settings.idle_timeout = std::chrono::seconds(60);
  });
  const std::string_view large = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string_view invited = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
  const std::string_view wrong = "GET / HTTP/1.1\nHost: a\n\n";  // answered, and listened to until it hangs up
  std::vector<std::unique_ptr<RawClient>> holders;
  for (const auto& [request, begun] :
       {std::pair(large, "200 OK"), std::pair(invited, "100 Continue"), std::pair(wrong, "400 ")}) {
    holders.push_back(std::make_unique<RawClient>(port));
    holders.back()->send(request);
    holders.back()->read_until(begun);
  }
  std::vector<std::unique_ptr<RawClient>> served;
  for (std::size_t asked = 1; asked <= 3; ++asked) {
    served.push_back(std::make_unique<RawClient>(port));
    served.back()->send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto deadline = steady_clock::now() + std::chrono::seconds(20);
    while (handler.asked < asked && !served.back()->readable() && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    ASSERT_EQ(handler.asked, asked) << served.back()->read_all();
  }
  EXPECT_EQ(probe.refused_full.get(), 0U);
  EXPECT_GE(probe.displaced.get(), 2U);  // the last of the three may have been let go in time
}

TEST_F(ConnectionTest, RefusesAnAddressThatHasAsManyConnectionsAsItMay) {
  start([](ServerSettings& settings) { settings.connections_per_address_max = 2; });
  {
    RawClient first(port);
    RawClient second(port);
    for (RawClient* client : {&first, &second}) {
      client->send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      client->read_until("}");
    }
    RawClient third(port);
    third.shut();
    const std::string answer = third.read_all();
    expect_problem(answer, "503 ", "too-many-connections", "Unavailable");
    EXPECT_NE(answer.find("this address has 2 connections"), std::string::npos) << answer;
    EXPECT_EQ(probe.refused_address.get(), 1U);
  }
  const auto deadline = steady_clock::now() + std::chrono::seconds(20);
  while (probe.connections.get() > 0 && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_TRUE(exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

// Both have the same time from their accept; the first one's bytes give it no more.
TEST_F(ConnectionTest, GivesAFirstRequestNoMoreTimeForItsBytes) {
  start([](ServerSettings& settings) { settings.request_timeout = milliseconds(600); });
  RawClient dribbling(port);
  std::this_thread::sleep_for(milliseconds(100));
  RawClient silent(port);
  std::this_thread::sleep_for(milliseconds(200));
  dribbling.send("GET / HTTP/1.1\r\n");
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_TRUE(dribbling.readable());
  EXPECT_TRUE(dribbling.read_all().starts_with("HTTP/1.1 408 "));
}

TEST_F(ConnectionTest, CountsItsAnswersByStatus) {
  start();
  exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbroken\r\n\r\n");
  const auto count = [this](std::uint16_t status) {
    const auto& all = HttpProbe::k_statuses;
    return probe.responses[static_cast<std::size_t>(std::find(all.begin(), all.end(), status) - all.begin())].get();
  };
  EXPECT_EQ(count(200), 2U);
  EXPECT_EQ(count(400), 1U);
  EXPECT_EQ(count(431), 0U);
}

TEST_F(ConnectionTest, StopsAtOnceWhateverItsConnectionsAreDoing) {
  start();
  RawClient idle(port);
  RawClient half(port);
  RawClient waiting(port);
  RawClient unread(port);
  half.send("GET / HTT");
  waiting.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
  unread.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  unread.read_until("200 OK");
  const auto begun = steady_clock::now();
  server->stop();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(1));
  EXPECT_EQ(idle.read_all(), "");
}

TEST_F(ConnectionTest, SaysWhoHasTheAddressItCannotHave) {
  start();
  ServerSettings settings;
  settings.name = "other";
  settings.listen.port = port;
  HttpServer other(settings, handler, clock, log, probe);
  const auto started = other.start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().detail, "address in use: another process listens on 127.0.0.1:" + std::to_string(port));
  settings.listen = {"192.0.2.1", 0};  // TEST-NET-1: nobody's
  HttpServer elsewhere(settings, handler, clock, log, probe);
  EXPECT_NE(elsewhere.start().error().detail.find("192.0.2.1"), std::string::npos);
  settings.listen = {"localhost", 0};
  HttpServer name(settings, handler, clock, log, probe);
  EXPECT_NE(name.start().error().detail.find("numeric"), std::string::npos);
}

}  // namespace
}  // namespace fieldgate::http
