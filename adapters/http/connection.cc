// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/connection.h"

#include "adapters/http/http_connection.h"
#include "adapters/http/problem.h"
#include "adapters/http/request_gate.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace fieldgate::http {
namespace {

namespace asio = boost::asio;

constexpr std::size_t k_head_read_bytes = 4'096;
constexpr std::size_t k_body_read_bytes = 16'384;

}  // namespace

// Lives with whoever handles the request, and may outlive it and the connection.
class HttpConnection::Incoming final : public BodySource {
 public:
  Incoming(std::weak_ptr<HttpConnection> connection, std::uint64_t turn)
      : connection_(std::move(connection)), turn_(turn) {}
  void next(Give give) override {
    if (const auto connection = connection_.lock()) connection->read_piece(turn_, std::move(give));
  }

 private:
  const std::weak_ptr<HttpConnection> connection_;
  const std::uint64_t turn_;
};

HttpConnection::HttpConnection(std::unique_ptr<Channel> channel, ConnectionOptions options, Service& service)
    : channel_(std::move(channel)),
      peer_(std::move(options.peer)),
      refuse_(std::move(options.refuse)),
      service_(service),
      reading_limit_{asio::steady_timer(channel_->socket().get_executor())},
      writing_limit_{asio::steady_timer(channel_->socket().get_executor())},
      wake_(channel_->socket().get_executor()),
      buffer_(service.settings.header_bytes_max + k_body_read_bytes) {
  if (refuse_.empty()) hold_ = GaugeHold(service.probe.connections);
}

void HttpConnection::start(std::function<void()> ended) {
  wait_for_client();
  asio::co_spawn(wake_.get_executor(), run(), [self = shared_from_this(), ended](std::exception_ptr error) {
    if (error) self->log_exception(error);
    self->close();
    ended();
  });
}

void HttpConnection::close() {
  closed_ = true;
  waiting_since_.reset();
  reading_limit_.timer.cancel();
  writing_limit_.timer.cancel();
  wake();
  error_code ignored;
  channel_->socket().close(ignored);
}

asio::awaitable<void> HttpConnection::run() {
  arm(&HttpConnection::reading_limit_, service_.settings.request_timeout);
  if (co_await channel_->handshake()) co_return;
  bool linger = true;
  if (!refuse_.empty()) {
    Request none;
    none.id = next_id();
    Response refusal = make_problem(Problem::too_many_connections, none.id, refuse_);
    refusal.close = true;
    linger = co_await write(none, std::move(refusal));
  } else {
    while (keep_alive_ && !closed_) linger = co_await serve_one();
  }
  co_await settle();
  if (linger && !closed_) co_await drain();
}

// One request and its answer. False if the peer is gone; keep_alive_ says whether
// another may follow.
asio::awaitable<bool> HttpConnection::serve_one() {
  Request request;
  request.peer = peer_;
  std::size_t head_bytes = 0;
  if (!waiting_since_) wait_for_client();
  const HeadRead read = co_await read_head(head_bytes);
  if (read == HeadRead::ended) {
    keep_alive_ = false;
    co_return false;
  }
  request.id = next_id();
  std::optional<Response> refusal = refuse_head(read, request);
  if (!refusal) refusal = admit(head_bytes, request);
  if (!refusal && must_invite_ && !co_await invite()) {
    keep_alive_ = false;
    co_return false;
  }
  if (!refusal && request.head.has_body() && plan_.mode == BodyMode::whole) {
    const BodyRead body = co_await read_body(request.body, false);
    if (body == BodyRead::ended) {
      keep_alive_ = false;
      co_return false;
    }
    refusal = refuse_body(body, request.id);
  }
  waiting_since_.reset();
  if (refusal) {
    refusal->close = true;
    co_return co_await write(request, std::move(*refusal));
  }
  reading_limit_.timer.cancel();
  if (request.head.has_body() && plan_.mode == BodyMode::streamed) {
    request.stream = std::make_shared<Incoming>(weak_from_this(), turn_ + 1);
  }
  ask(request);
  co_await await_answer(service_.settings.request_timeout + service_.handler.patience(request));
  if (closed_ || gone_) {
    keep_alive_ = false;
    co_return false;
  }
  // What has not been read by now may never be.
  if (plan_.mode == BodyMode::streamed && !parser_->done()) keep_alive_ = false;
  const bool sent = co_await write(request, take_answer(request));
  ++turn_;  // what is left of the body belongs to nobody
  co_return sent;
}

// --- the request

asio::awaitable<HttpConnection::HeadRead> HttpConnection::read_head(std::size_t& head_bytes) {
  const ServerSettings& settings = service_.settings;
  std::size_t searched = 0;
  bool begun = buffer_.size() > 0;
  started_ = std::chrono::steady_clock::now();
  // The first request's time has run since accept, and no byte gives it more.
  const bool timed = std::exchange(first_, false);
  if (!timed) arm(&HttpConnection::reading_limit_, begun ? settings.request_timeout : settings.idle_timeout);
  for (;;) {
    const Result<std::size_t> end = find_head_end(buffered(), searched);
    if (!end) {
      fault_ = end.error().detail;
      co_return HeadRead::malformed;
    }
    searched = buffer_.size();
    if (*end > settings.header_bytes_max || (*end == 0 && searched >= settings.header_bytes_max)) {
      co_return HeadRead::too_large;
    }
    if (*end > 0) {
      head_bytes = *end;
      co_return HeadRead::complete;
    }
    if (!co_await read_some(k_head_read_bytes)) {
      co_return reading_limit_.passed&& begun ? HeadRead::timed_out : HeadRead::ended;
    }
    if (!begun) {
      begun = true;
      started_ = std::chrono::steady_clock::now();
      if (!timed) arm(&HttpConnection::reading_limit_, settings.request_timeout);
    }
  }
}

// Reads what there is, at most what the buffer may take more; false at the end.
asio::awaitable<bool> HttpConnection::read_some(std::size_t bytes_max) {
  const std::size_t before = buffer_.size();
  while (listening_) co_await await_wake(Time::max());  // it reads what we want
  if (buffer_.size() > before) co_return true;
  if (ended_ || closed_ || reading_limit_.passed) co_return false;
  error_code ec;
  const std::size_t room = std::min(bytes_max, buffer_.max_size() - buffer_.size());
  const std::size_t n = co_await channel_->read_some(buffer_.prepare(room), ec);
  buffer_.commit(n);
  co_return !ec && n > 0;
}

std::string_view HttpConnection::buffered() const {
  return {static_cast<const char*>(buffer_.data().data()), buffer_.size()};
}

std::optional<Response> HttpConnection::refuse_head(HeadRead read, const Request& request) const {
  switch (read) {
    case HeadRead::complete:
    case HeadRead::ended: break;
    case HeadRead::timed_out:
      return make_problem(Problem::request_timeout, request.id, "the head was not complete in time");
    case HeadRead::too_large:
      return make_problem(Problem::headers_too_large, request.id,
                          "the head may have " + std::to_string(service_.settings.header_bytes_max) + " bytes");
    case HeadRead::malformed: return make_problem(Problem::malformed_request, request.id, fault_);
  }
  return std::nullopt;
}

// Lets the head through the gate and primes the parser that reads the body.
std::optional<Response> HttpConnection::admit(std::size_t head_bytes, Request& request) {
  Result<Head> head = parse_head(buffered().substr(0, head_bytes));
  if (!head) {
    const bool large = head.error().code == Errc::too_large;
    return make_problem(large ? Problem::headers_too_large : Problem::malformed_request, request.id,
                        head.error().detail);
  }
  request.head = std::move(*head);
  keep_alive_ = request.head.keep_alive;
  Result<Target> target = parse_target(request.head.target);
  if (!target) return make_problem(Problem::malformed_request, request.id, target.error().detail);
  request.target = std::move(*target);

  plan_ = request.head.has_body() ? plan_for(request) : BodyPlan{};
  if (plan_.bytes_max == 0) plan_.bytes_max = service_.settings.body_bytes_max;
  if (plan_.mode == BodyMode::none) {
    keep_alive_ = false;
  } else if (request.head.content_length.value_or(0) > plan_.bytes_max) {
    return refuse_body(BodyRead::too_large, request.id);
  }
  // A body that is not read may be of any size.
  const std::uint64_t limit = plan_.mode == BodyMode::none ? ~std::uint64_t{0} : plan_.bytes_max;
  Result<BodyParser> parser = BodyParser::begin(buffered().substr(0, head_bytes), limit);
  if (!parser) return make_problem(Problem::malformed_request, request.id, parser.error().detail);
  parser_.emplace(std::move(*parser));
  buffer_.consume(head_bytes);
  must_invite_ =
      request.head.has_body() && request.head.expects_continue && buffer_.size() == 0 && plan_.mode != BodyMode::none;
  return std::nullopt;
}

BodyPlan HttpConnection::plan_for(const Request& request) {
  try {
    return service_.handler.accepts(request);
  } catch (const std::exception& error) {
    log_handler(request.id, error);
    return {BodyMode::none};
  }
}

asio::awaitable<bool> HttpConnection::invite() {
  constexpr std::string_view k_continue = "HTTP/1.1 100 Continue\r\n\r\n";
  must_invite_ = false;
  const bool sent = co_await send(k_continue, service_.settings.request_timeout);
  wait_for_client();
  co_return sent;
}

// Reads to the body's end; `piecewise`: as soon as there is something of it.
asio::awaitable<HttpConnection::BodyRead> HttpConnection::read_body(std::string& body, bool piecewise) {
  while (!parser_->done()) {
    if (buffer_.size() > 0) {
      const Result<std::size_t> used = parser_->take(buffered(), body);
      if (!used) {
        fault_ = used.error().detail;
        co_return used.error().code == Errc::too_large ? BodyRead::too_large : BodyRead::malformed;
      }
      buffer_.consume(*used);
      if (*used > 0) continue;
      if (buffer_.size() == buffer_.max_size()) {
        fault_ = "a chunk's header is too long";
        co_return BodyRead::malformed;
      }
    }
    if (piecewise && !body.empty()) co_return BodyRead::some;
    if (!co_await read_some(k_body_read_bytes)) {
      co_return reading_limit_.passed ? BodyRead::timed_out : BodyRead::ended;
    }
  }
  co_return BodyRead::complete;
}

std::optional<Response> HttpConnection::refuse_body(BodyRead read, const std::string& request_id) const {
  switch (read) {
    case BodyRead::complete:
    case BodyRead::some:
    case BodyRead::ended: break;
    case BodyRead::timed_out:
      return make_problem(Problem::request_timeout, request_id, "the body was not complete in time");
    case BodyRead::too_large:
      return make_problem(Problem::body_too_large, request_id,
                          "a body may have " + std::to_string(plan_.bytes_max) + " bytes here");
    case BodyRead::malformed: return make_problem(Problem::malformed_request, request_id, fault_);
  }
  return std::nullopt;
}

// For a handler that has asked for more of the body.
void HttpConnection::read_piece(std::uint64_t turn, BodySource::Give give) {
  if (closed_ || gone_ || turn != turn_ || reading_ || !parser_) return;
  reading_ = true;
  arm(&HttpConnection::reading_limit_, service_.settings.request_timeout);
  asio::co_spawn(wake_.get_executor(), piece(),
                 [self = shared_from_this(), turn, give = std::move(give)](std::exception_ptr error, BodyPiece got) {
                   self->reading_ = false;
                   self->reading_limit_.timer.cancel();
                   if (error) {
                     self->log_exception(error);
                     got.then = BodyPiece::Then::broken;
                   }
                   // Time counts from what has come.
                   self->answer_by_ = std::max(
                       self->answer_by_, std::chrono::steady_clock::now() + self->service_.settings.request_timeout);
                   self->wake();
                   if (!self->closed_ && turn == self->turn_) give(std::move(got));
                 });
}

asio::awaitable<BodyPiece> HttpConnection::piece() {
  BodyPiece out;
  const BodyRead read = co_await read_body(out.bytes, true);
  if (read == BodyRead::complete) {
    out.then = BodyPiece::Then::end;
  } else if (read != BodyRead::some) {
    out.then = BodyPiece::Then::broken;
    gone_ = gone_ || read == BodyRead::ended;
    if (asking_ && !answer_) answer_ = refuse_body(read, request_id_);
  }
  co_return out;
}

std::shared_ptr<Connection> start_connection(asio::ip::tcp::socket socket, ConnectionOptions options, Service& service,
                                             std::function<void()> ended) {
  auto channel = make_channel(std::move(socket), std::move(options.tls));
  auto connection = std::make_shared<HttpConnection>(std::move(channel), std::move(options), service);
  connection->start(std::move(ended));
  return connection;
}

}  // namespace fieldgate::http
