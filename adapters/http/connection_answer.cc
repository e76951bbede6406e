// SPDX-License-Identifier: Apache-2.0
//
// How a connection gets its answers and sends them, and all its waiting.
#include "adapters/http/finish.h"
#include "adapters/http/http_connection.h"
#include "adapters/http/problem.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace fieldgate::http {
namespace {

namespace asio = boost::asio;
using std::chrono::steady_clock;

// A client that is still sending when its answer is final gets this much time and
// room, so that the answer is not lost to a reset.
constexpr milliseconds k_linger{1'000};
constexpr std::size_t k_linger_bytes_max = 262'144;
constexpr std::size_t k_linger_read_bytes = 4'096;
// Of the kernel, for an answer without end: what its reader does not take is to be
// noticed, and not to fill the machine's memory.
constexpr int k_endless_send_buffer = 65'536;

}  // namespace

// Hands the request over. The answer may come at once, later, or never.
void HttpConnection::ask(const Request& request) {
  answer_.reset();
  request_id_ = request.id;
  asking_ = true;
  const std::uint64_t turn = ++turn_;
  try {
    service_.handler.handle(request, [weak = weak_from_this(), turn](Response response) {
      const auto self = weak.lock();
      if (self == nullptr || self->turn_ != turn || !self->asking_ || self->answer_) return;
      self->answer_ = std::move(response);
      self->wake();
    });
  } catch (const std::exception& error) {
    log_handler(request.id, error);
    answer_ = make_problem(Problem::internal_error, request.id, "the log has more under this request's id");
  }
}

asio::awaitable<void> HttpConnection::await_answer(milliseconds time) {
  answer_by_ = steady_clock::now() + time;
  // While it waits for the body, the body's own limit counts.
  while (!answer_ && !closed_ && !gone_ && (reading_ || steady_clock::now() < answer_by_)) {
    co_await await_wake(reading_ ? Time::max() : answer_by_);
  }
}

Response HttpConnection::take_answer(const Request& request) {
  asking_ = false;  // what comes now is too late
  if (!answer_) return make_problem(Problem::answer_timeout, request.id, "try again");
  Response response = std::move(*answer_);
  answer_.reset();
  return response;
}

asio::awaitable<bool> HttpConnection::write(const Request& request, Response response) {
  const bool chunked = response.source != nullptr && request.head.http_1_1;
  if (response.close || (response.source != nullptr && !chunked)) keep_alive_ = false;
  finish(request, service_.settings.cors_origins, response);
  const bool head_only = request.head.method == "HEAD";
  const Framing framing{head_only, keep_alive_, chunked};
  const std::string text = serialize(response, framing, service_.clock.unix_ms());
  const std::shared_ptr<BodySource> source = head_only ? nullptr : std::move(response.source);
  endless_ = false;
  bool sent = co_await send(text, service_.settings.request_timeout);
  record(request, response.status, text.size());
  if (sent && source != nullptr) sent = co_await write_pieces(source, chunked);
  if (!sent) keep_alive_ = false;
  co_return sent;
}

// False if not all of it could be sent: the client sees that by the missing end.
asio::awaitable<bool> HttpConnection::write_pieces(std::shared_ptr<BodySource> source, bool chunked) {
  endless_ = source->endless();
  const milliseconds time = endless_ ? service_.settings.idle_timeout : service_.settings.request_timeout;
  if (endless_) {
    error_code ignored;
    channel_->socket().set_option(asio::socket_base::send_buffer_size(k_endless_send_buffer), ignored);
  }
  if (!reading_ && (!parser_ || parser_->done())) listen();
  for (;;) {
    co_await await_piece(*source);
    if (!piece_ || piece_->then == BodyPiece::Then::broken) co_return false;
    const bool last = piece_->then == BodyPiece::Then::end;
    const std::string bytes = chunked ? chunk(piece_->bytes, last) : std::move(piece_->bytes);
    piece_.reset();
    if (!bytes.empty() && !co_await send(bytes, time)) co_return false;
    if (last) co_return true;
  }
}

// No piece: the client has gone.
asio::awaitable<void> HttpConnection::await_piece(BodySource& source) {
  piece_.reset();
  const std::uint64_t number = ++piece_number_;
  try {
    source.next([weak = weak_from_this(), number](BodyPiece piece) {
      const auto self = weak.lock();
      if (self == nullptr || self->piece_number_ != number || self->piece_) return;
      self->piece_ = std::move(piece);
      self->wake();
    });
  } catch (const std::exception& error) {
    log_handler(request_id_, error);
    piece_ = BodyPiece{{}, BodyPiece::Then::broken};
  }
  while (!piece_ && !closed_ && !gone_) co_await await_wake(Time::max());
  ++piece_number_;  // what comes now is too late
  if (closed_ || gone_) piece_.reset();
}

asio::awaitable<bool> HttpConnection::send(std::string_view bytes, milliseconds time) {
  if (closed_) co_return false;
  arm(&HttpConnection::writing_limit_, time);
  // Whoever takes an endless answer slowly misses events, but keeps its place.
  if (!endless_) wait_for_client();
  const error_code ec = co_await channel_->write(asio::buffer(bytes));
  waiting_since_.reset();
  writing_limit_.timer.cancel();
  co_return !ec;
}

// Hears of a client that leaves while its answer is on its way. What it says instead is
// the beginning of its next request, and then its leaving shows when that is read.
void HttpConnection::listen() {
  if (listening_ || ended_ || buffer_.size() > 0) return;
  listening_ = true;
  asio::co_spawn(wake_.get_executor(), hear(), [self = shared_from_this()](std::exception_ptr error) {
    if (error) self->log_exception(error);
    self->listening_ = false;
    self->wake();
  });
}

asio::awaitable<void> HttpConnection::hear() {
  error_code ec;
  const std::size_t n = co_await channel_->read_some(asio::buffer(ahead_), ec);
  const auto room = buffer_.prepare(n);
  buffer_.commit(asio::buffer_copy(room, asio::buffer(ahead_), n));
  if (n > 0 || ec == asio::error::operation_aborted) co_return;
  ended_ = true;
  // A client may end its side and still want the rest, if there is one.
  if (endless_ || ec != asio::error::eof) gone_ = true;
}

// --- waiting

// From here on it is the client's turn. One that is refused has no place to give up.
void HttpConnection::wait_for_client() {
  if (refuse_.empty() && !closed_) waiting_since_ = steady_clock::now();
}

// What is waited for on the socket ends after `time`, with `passed` set.
void HttpConnection::arm(Limit HttpConnection::*limit, milliseconds time) {
  Limit& it = this->*limit;
  it.passed = false;
  it.timer.expires_after(time);
  it.timer.async_wait([weak = weak_from_this(), limit](const error_code& ec) {
    if (ec) return;
    if (const auto self = weak.lock()) self->expire(limit);
  });
}

void HttpConnection::expire(Limit HttpConnection::*limit) {
  Limit& it = this->*limit;
  if (it.timer.expiry() > steady_clock::now()) return;  // armed anew since
  it.passed = true;
  error_code ignored;
  channel_->socket().cancel(ignored);
}

asio::awaitable<void> HttpConnection::await_wake(Time until) {
  error_code ignored;
  wake_.expires_at(until);
  co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

// Ends the read beside run(), if there is one.
asio::awaitable<void> HttpConnection::settle() {
  error_code ignored;
  if (reading_ || listening_) channel_->socket().cancel(ignored);
  while (reading_ || listening_) co_await await_wake(Time::max());
}

// Ends our side, and takes what the client has still under way.
asio::awaitable<void> HttpConnection::drain() {
  error_code ec;
  wait_for_client();
  arm(&HttpConnection::reading_limit_, k_linger);
  co_await channel_->end();
  buffer_.clear();
  for (std::size_t total = 0; total < k_linger_bytes_max && !reading_limit_.passed && !closed_;) {
    const std::size_t n = co_await channel_->socket().async_read_some(buffer_.prepare(k_linger_read_bytes),
                                                                      asio::redirect_error(asio::use_awaitable, ec));
    if (ec) co_return;
    total += n;
  }
}

// --- words about it

void HttpConnection::record(const Request& request, unsigned status, std::size_t bytes) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - started_);
  const auto& statuses = HttpProbe::k_statuses;
  const auto at = std::find(statuses.begin(), statuses.end(), status) - statuses.begin();
  service_.probe.responses[static_cast<std::size_t>(at)].add();
  if (refuse_.empty()) service_.probe.request_time.observe(static_cast<std::uint64_t>(us.count()));
  service_.log.debug("http_request", {{"server", service_.settings.name},
                                      {"id", request.id},
                                      {"peer", peer_},
                                      {"method", request.head.method},
                                      {"target", request.head.target},
                                      {"status", status},
                                      {"bytes", bytes},
                                      {"us", us.count()}});
}

void HttpConnection::log_handler(std::string_view request_id, const std::exception& error) {
  service_.log.error("http_handler_exception", {{"id", request_id}, {"error", std::string_view(error.what())}});
}

void HttpConnection::log_exception(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    service_.log.error("http_connection_exception", {{"peer", peer_}, {"error", std::string_view(e.what())}});
  }
}

}  // namespace fieldgate::http
