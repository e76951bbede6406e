// SPDX-License-Identifier: Apache-2.0
//
// Bodies that come and go bit by bit, over real sockets.
#include "adapters/http/http_server.h"
#include "gateway/core/mutex.h"
#include "tests/integration/http/http_client.h"
#include "tests/support/http_fakes.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace fieldgate::http {
namespace {

using namespace fieldgate::test;
using std::chrono::steady_clock;

std::string sha256(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string out;
  for (const unsigned char byte : digest) out += std::to_string(byte) + ".";
  return out;
}

// What a handler has been asked, seen from the test's thread.
struct Seen {
  std::atomic<std::uint64_t> pieces{0};
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<int> sources{0};  // that are alive
  std::atomic<bool> hold{false};
  std::atomic<bool> broken{false};
};

// Gives `pieces` pieces of `bytes` bytes; then what `then` says; "live" ones never end.
class Pieces final : public BodySource {
 public:
  Pieces(Seen& seen, std::uint64_t pieces, std::size_t bytes, BodyPiece::Then then, bool live)
      : seen_(seen), left_(pieces), bytes_(bytes), then_(then), live_(live) {
    ++seen_.sources;
  }
  ~Pieces() override { --seen_.sources; }
  void next(Give give) override {
    if (live_ && left_ == 0) {
      waiting_ = std::move(give);  // nothing more happens
      return;
    }
    ++seen_.pieces;
    BodyPiece piece{std::string(bytes_, static_cast<char>('a' + left_ % 26)), BodyPiece::Then::more};
    piece.bytes.back() = '\n';
    if (--left_ == 0 && !live_) piece.then = then_;
    give(std::move(piece));
  }
  bool endless() const noexcept override { return live_; }

 private:
  Seen& seen_;
  std::uint64_t left_;
  const std::size_t bytes_;
  const BodyPiece::Then then_;
  const bool live_;
  Give waiting_;
};

// Reads a request's body bit by bit and says how many bytes it had, and their digest:
// at the end or, at /echo, each piece as it comes.
class Counter final : public std::enable_shared_from_this<Counter> {
 public:
  Counter(Seen& seen, std::shared_ptr<BodySource> body, Handler::Respond respond)
      : seen_(seen), body_(std::move(body)), respond_(std::move(respond)) {}
  void read() {
    body_->next([self = shared_from_this()](BodyPiece piece) {
      self->seen_.bytes += piece.bytes.size();
      self->text_ += piece.bytes;
      if (piece.then == BodyPiece::Then::more) return self->read();
      if (piece.then == BodyPiece::Then::broken) self->seen_.broken = true;
      Response response;
      response.body = std::to_string(self->text_.size()) + " " + sha256(self->text_);
      self->respond_(std::move(response));
    });
  }

 private:
  Seen& seen_;
  const std::shared_ptr<BodySource> body_;
  const Handler::Respond respond_;
  std::string text_;
};

// What comes in goes out again.
class Mirror final : public BodySource {
 public:
  Mirror(Seen& seen, std::shared_ptr<BodySource> body) : seen_(seen), body_(std::move(body)) { ++seen_.sources; }
  ~Mirror() override { --seen_.sources; }
  void next(Give give) override { body_->next(std::move(give)); }

 private:
  Seen& seen_;
  const std::shared_ptr<BodySource> body_;
};

// Paths: /stream/PIECES/BYTES ends, /broken/... breaks off, /live/... has no end; POST /count,
// /echo and /ignore take a streamed body, /whole a whole one of 100,000 bytes, /none no body.
class StreamHandler final : public Handler {
 public:
  explicit StreamHandler(Seen& seen) : seen_(seen) {}

  BodyPlan accepts(const Request& head) override {
    const std::string& first = head.target.segments[0];
    if (first == "whole") return {BodyMode::whole, 100'000};
    if (first == "none") return {BodyMode::none, 0};
    if (first == "throw") throw std::runtime_error("as told");
    return {BodyMode::streamed, first == "small" ? 1'000U : std::uint64_t{1} << 30};
  }

  void handle(const Request& request, Respond respond) override {
    const auto& path = request.target.segments;
    Response response;
    if (path[0] == "count" || path[0] == "small") {
      return std::make_shared<Counter>(seen_, request.stream, std::move(respond))->read();
    }
    if (path[0] == "echo") {
      response.source = std::make_shared<Mirror>(seen_, request.stream);
    } else if (path.size() == 3) {
      const auto then = path[0] == "broken" ? BodyPiece::Then::broken : BodyPiece::Then::end;
      response.source =
          std::make_shared<Pieces>(seen_, std::stoull(path[1]), std::stoul(path[2]), then, path[0] == "live");
    } else {
      response.body = std::to_string(request.body.size()) + " " + sha256(request.body);
    }
    response.content_type = "text/plain";
    respond(std::move(response));
  }

 private:
  Seen& seen_;
};

std::string unchunked(std::string_view answer) {
  std::string out;
  std::size_t at = answer.find("\r\n\r\n");
  if (at == std::string_view::npos) return "no head";
  for (at += 4;;) {
    const std::size_t line = answer.find("\r\n", at);
    if (line == std::string_view::npos) return out + "<cut>";
    const std::size_t size = std::stoul(std::string(answer.substr(at, line - at)), nullptr, 16);
    if (size == 0) return out;
    if (line + 2 + size + 2 > answer.size()) return out + "<cut>";
    out += answer.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
}

class BodyStreamTest : public testing::Test {
 protected:
  void start(const std::function<void(ServerSettings&)>& change = {}) {
    ServerSettings settings;
    settings.name = "test";
    settings.body_bytes_max = 1'000;
    if (change) change(settings);
    server = std::make_unique<HttpServer>(settings, handler, clock, log, probe);
    const auto started = server->start();
    ASSERT_TRUE(started.has_value()) << started.error().detail;
    port = *started;
    base = "http://127.0.0.1:" + std::to_string(port);
  }
  void TearDown() override {
    server.reset();
    EXPECT_EQ(probe.connections.get(), 0);
    EXPECT_EQ(seen.sources.load(), 0);
  }
  std::string exchange(std::string_view bytes) {
    RawClient client(port);
    client.send(bytes);
    client.shut();
    return client.read_all();
  }
  template <class Condition>
  bool eventually(Condition condition) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(5));
    }
    return true;
  }

  TempDir dir;
  Seen seen;
  StreamHandler handler{seen};
  FakeClock clock;
  SilentLog log;
  HttpProbe probe;
  std::unique_ptr<HttpServer> server;
  std::uint16_t port = 0;
  std::string base;
};

TEST_F(BodyStreamTest, SendsAnAnswerInPiecesAndGoesOnWithTheNextRequest) {
  start();
  const std::string text =
      exchange("GET /stream/3/5 HTTP/1.1\r\nHost: a\r\n\r\nGET /whole HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_NE(text.find("Transfer-Encoding: chunked\r\n"), std::string::npos) << text;
  EXPECT_EQ(text.substr(0, text.find("\r\n\r\n")).find("Content-Length"), std::string::npos);
  EXPECT_EQ(unchunked(text), "dddd\ncccc\nbbbb\n");
  EXPECT_NE(text.find("0\r\n\r\nHTTP/1.1 200 OK"), std::string::npos) << text;
}

TEST_F(BodyStreamTest, EndsTheConnectionInsteadForHttp10) {
  start();
  const std::string text = exchange("GET /stream/3/5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(text.find("Transfer-Encoding"), std::string::npos) << text;
  EXPECT_NE(text.find("Connection: close"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\r\n\r\ndddd\ncccc\nbbbb\n")) << text;
}

TEST_F(BodyStreamTest, SendsNoPiecesToHead) {
  start();
  const std::string text =
      exchange("HEAD /stream/3/5 HTTP/1.1\r\nHost: a\r\n\r\nGET /whole HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(text.find("dddd"), std::string::npos) << text;
  EXPECT_NE(text.find("\r\n\r\nHTTP/1.1 200 OK"), std::string::npos) << text;
  EXPECT_EQ(seen.pieces.load(), 0U);
}

TEST_F(BodyStreamTest, CompressesThePiecesForWhoAsks) {
  start();
  const CurlAnswer plain = curl({base + "/stream/200/5000"});
  const CurlAnswer packed = curl({"--compressed", base + "/stream/200/5000"});
  EXPECT_EQ(packed.header("content-encoding"), "gzip");
  EXPECT_EQ(plain.body.size(), 1'000'000U);
  EXPECT_EQ(packed.body, plain.body);
  const CurlAnswer raw = curl({"-H", "Accept-Encoding: gzip", base + "/stream/200/5000"});
  EXPECT_LT(raw.body.size(), 50'000U);
}

TEST_F(BodyStreamTest, BreaksOffSoThatTheClientSeesIt) {
  start();
  EXPECT_EQ(unchunked(exchange("GET /broken/3/5 HTTP/1.1\r\nHost: a\r\n\r\n")), "dddd\ncccc\n<cut>");
}

TEST_F(BodyStreamTest, MakesNoMoreThanASlowReaderTakes) {
  start();
  RawClient client(port);
  client.send("GET /stream/100000/60000 HTTP/1.1\r\nHost: a\r\n\r\n");  // 6 GB in all
  client.read_until("200 OK");
  // As much as the kernel takes, and no more: it does not grow.
  std::uint64_t before = 0;
  ASSERT_TRUE(eventually([&] {
    const std::uint64_t now = seen.pieces.load();
    return std::exchange(before, now) == now && now > 0;
  }));
  EXPECT_LT(seen.pieces.load(), 1'000U);
}

TEST_F(BodyStreamTest, LetsGoOfTheSourceWhenItsReaderLeavesOrStandsStill) {
  start([](ServerSettings& settings) { settings.request_timeout = milliseconds(500); });
  {
    RawClient leaver(port);
    leaver.send("GET /live/1/5 HTTP/1.1\r\nHost: a\r\n\r\n");
    leaver.read_until("bbbb\n");
    EXPECT_EQ(seen.sources.load(), 1);
  }
  EXPECT_TRUE(eventually([&] { return seen.sources.load() == 0; }));
  RawClient half(port);
  half.send("GET /live/1/5 HTTP/1.1\r\nHost: a\r\n\r\n");
  half.read_until("bbbb\n");
  half.shut();  // who ends its side of an answer without end has had enough
  EXPECT_TRUE(eventually([&] { return seen.sources.load() == 0; }));
  RawClient still(port);
  still.send("GET /stream/100000/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
  still.read_until("200 OK");
  EXPECT_TRUE(eventually([&] { return seen.sources.load() == 0; }));
  EXPECT_TRUE(eventually([&] { return probe.connections.get() == 0; }));
}

TEST_F(BodyStreamTest, KeepsALiveAnswerOpenForLongerThanAnyDeadline) {
  start([](ServerSettings& settings) {
    settings.request_timeout = milliseconds(100);
    settings.idle_timeout = milliseconds(100);
  });
  RawClient client(port);
  client.send("GET /live/2/5 HTTP/1.1\r\nHost: a\r\n\r\n");
  client.read_until("bbbb\n");
  std::this_thread::sleep_for(milliseconds(600));
  EXPECT_EQ(seen.sources.load(), 1);
  EXPECT_EQ(probe.connections.get(), 1);
}

TEST_F(BodyStreamTest, GivesAwayThePlaceOfWhoTakesNoMorePiecesButNotOfALiveAnswer) {
  start([](ServerSettings& settings) {
    settings.connections_max = 2;
    settings.request_timeout = std::chrono::seconds(60);  // nobody goes by himself
  });
  RawClient live(port);
  live.send("GET /live/1/5 HTTP/1.1\r\nHost: a\r\n\r\n");
  live.read_until("bbbb\n");
  RawClient still(port);
  still.send("GET /stream/100000/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
  still.read_until("200 OK");
  std::uint64_t before = 0;
  ASSERT_TRUE(eventually([&] {  // the kernel takes no more of it
    const std::uint64_t now = seen.pieces.load();
    return std::exchange(before, now) == now && now > 1;
  }));
  for (int i = 0; i < 3; ++i) {
    const std::string text = exchange("GET /whole HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(text.starts_with("HTTP/1.1 200 ")) << text;
  }
  EXPECT_TRUE(eventually([&] { return seen.sources.load() == 1; }));
  EXPECT_FALSE(live.readable());  // still served
  EXPECT_EQ(probe.refused_full.get(), 0U);
}

TEST_F(BodyStreamTest, AnswersWhatWasPipelinedBehindAStream) {
  start();
  RawClient client(port);
  client.send("GET /stream/400/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
  client.read_until("HTTP/1.1 200");
  client.send("GET /none HTTP/1.1\r\nHost: a\r\n");  // heard while the answer goes out
  client.send("Connection: close\r\n\r\n");
  const std::string text = client.read_all(std::chrono::seconds(20));
  EXPECT_EQ(unchunked(text).size(), 400U * 60'000U);
  EXPECT_NE(text.find("0\r\n\r\nHTTP/1.1 200 OK"), std::string::npos);
}

TEST_F(BodyStreamTest, GivesAWholeBodyToTheHandlerUpToItsOwnBound) {
  start();
  const std::string body(100'000, 'x');
  const std::string head = "POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: ";
  const std::string text = exchange(head + "100000\r\n\r\n" + body);
  EXPECT_NE(text.find("100000 " + sha256(body)), std::string::npos) << text;
  EXPECT_TRUE(exchange(head + "100001\r\n\r\n").starts_with("HTTP/1.1 413 "));
}

TEST_F(BodyStreamTest, DoesNotReadTheBodyOfWhomItRefuses) {
  start();
  RawClient client(port);
  client.send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n");
  const std::string text = client.read_until("0 " + sha256(""));
  EXPECT_TRUE(text.starts_with("HTTP/1.1 200 ")) << text;  // not invited
  EXPECT_NE(text.find("Connection: close"), std::string::npos) << text;
  EXPECT_TRUE(exchange("POST /throw HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde").starts_with("HTTP/1.1 "));
}

TEST_F(BodyStreamTest, StreamsABodyOfManyMegabytesToTheHandler) {
  start();
  std::string body;
  for (int i = 0; body.size() < 20'000'000; ++i) body += "{\"id\":\"device-" + std::to_string(i) + "\"}\n";
  const std::string file = dir.write("body", body);
  const std::string wanted = std::to_string(body.size()) + " " + sha256(body);
  EXPECT_EQ(curl({"--data-binary", "@" + file, base + "/count"}).body, wanted);
  EXPECT_EQ(curl({"-H", "Transfer-Encoding: chunked", "--data-binary", "@" + file, base + "/count"}).body, wanted);
  // Back out while it still comes in.
  EXPECT_EQ(sha256(curl({"-T", file, base + "/echo"}).body), sha256(body));
  EXPECT_EQ(sha256(curl({"-H", "Transfer-Encoding: chunked", "-T", file, base + "/echo"}).body), sha256(body));
}

TEST_F(BodyStreamTest, StreamsBothWaysAtOnceWithinTls) {
  const Identity identity = Authority().server();
  start([&](ServerSettings& settings) {
    settings.certificate_file = dir.write("api.pem", identity.certificate);
    settings.key_file = dir.write("api.key", identity.key);
  });
  base.replace(0, 4, "https");
  std::string body;
  for (std::uint64_t i = 0; body.size() < 5'000'000; ++i) body += std::to_string(i * 7919) + "\n";
  const std::string file = dir.write("body", body);
  EXPECT_EQ(sha256(curl({"-k", "-T", file, base + "/echo"}).body), sha256(body));
  EXPECT_EQ(curl({"-k", "--data-binary", "@" + file, base + "/count"}).body,
            std::to_string(body.size()) + " " + sha256(body));
  // One that leaves a live answer is missed there too.
  EXPECT_NE(curl({"-k", "--max-time", "0.5", base + "/live/1/5"}).exit_status, 0);
  EXPECT_TRUE(eventually([&] { return seen.sources.load() == 0; }));
}

TEST_F(BodyStreamTest, ReadsNoFasterThanTheHandlerAsks) {
  start();
  RawClient client(port);
  // The answer is never read, so nothing more is taken from the request.
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  std::atomic<std::uint64_t> sent{0};
  std::thread writer([&] {
    const std::string piece(100'000, 'x');
    while (client.send(piece)) sent += piece.size();
  });
  std::uint64_t before = 0;
  EXPECT_TRUE(eventually([&] {
    std::this_thread::sleep_for(milliseconds(300));
    const std::uint64_t now = sent.load();
    return std::exchange(before, now) == now && now > 0;
  }));
  EXPECT_LT(sent.load(), 100'000'000U);
  server->stop();
  writer.join();
}

TEST_F(BodyStreamTest, AnswersForAHandlerWhoseBodyBreaks) {
  start([](ServerSettings& settings) { settings.request_timeout = milliseconds(500); });
  const std::string head = "POST /small HTTP/1.1\r\nHost: a\r\n";
  EXPECT_TRUE(exchange(head + "Content-Length: 1001\r\n\r\n").starts_with("HTTP/1.1 413 "));
  std::string chunks;
  for (int i = 0; i < 300; ++i) chunks += "4\r\nabcd\r\n";
  EXPECT_TRUE(exchange(head + "Transfer-Encoding: chunked\r\n\r\n" + chunks).starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(exchange(head + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(seen.broken.load());
  RawClient slow(port);
  slow.send(head + "Content-Length: 10\r\n\r\nabc");
  EXPECT_TRUE(slow.read_all().starts_with("HTTP/1.1 408 "));
  // One that leaves in the middle is answered nothing, and forgotten.
  EXPECT_EQ(exchange(head + "Content-Length: 10\r\n\r\nabc"), "");
}

TEST_F(BodyStreamTest, DoesNotTakeTheRestOfABodyForARequest) {
  start();
  const std::string smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string head = "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(smuggled.size());
  const std::string text = exchange(head + "\r\n\r\n" + smuggled);
  EXPECT_EQ(text.find("HTTP/1.1 ", 1), std::string::npos) << text;
  EXPECT_NE(text.find("Connection: close"), std::string::npos) << text;
}

TEST_F(BodyStreamTest, GoesOnAfterAStreamedBodyThatWasReadToItsEnd) {
  start();
  const std::string text = exchange(
      "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
      "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
      "GET /stream/1/5 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_NE(text.find("3 " + sha256("abc")), std::string::npos) << text;
  EXPECT_NE(text.find("2 " + sha256("de")), std::string::npos) << text;
  EXPECT_NE(text.find("bbbb\n"), std::string::npos) << text;
}

TEST_F(BodyStreamTest, StopsAtOnceWhateverIsOnItsWay) {
  start();
  RawClient live(port);
  RawClient unread(port);
  RawClient coming(port);
  live.send("GET /live/1/5 HTTP/1.1\r\nHost: a\r\n\r\n");
  live.read_until("bbbb\n");
  unread.send("GET /stream/100000/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
  unread.read_until("200 OK");
  coming.send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
  ASSERT_TRUE(eventually([&] { return seen.bytes.load() == 3; }));
  const auto begun = steady_clock::now();
  server->stop();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(5));
}

}  // namespace
}  // namespace fieldgate::http
