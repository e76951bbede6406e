// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/body_parser.h"
#include "adapters/http/channel.h"
#include "adapters/http/connection.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include <array>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fieldgate::http {

// The Connection there is. run() is the one that acts; beside it there is at most one
// read of its own at a time: for a piece of a body that the handler has asked for, or,
// while an answer goes out in pieces, to hear of a client that leaves.
// Thread: the server's loop.
class HttpConnection final : public Connection, public std::enable_shared_from_this<HttpConnection> {
  using Time = std::chrono::steady_clock::time_point;

 public:
  HttpConnection(std::unique_ptr<Channel> channel, ConnectionOptions options, Service& service);

  void start(std::function<void()> ended);
  void close() override;
  std::optional<Time> waiting_since() const override { return waiting_since_; }

 private:
  template <class T>
  using awaitable = boost::asio::awaitable<T>;

  enum class HeadRead { complete, ended, timed_out, too_large, malformed };
  enum class BodyRead { complete, some, ended, timed_out, too_large, malformed };
  class Incoming;  // Request::stream

  // How long the socket may be waited for, in one direction.
  struct Limit {
    boost::asio::steady_timer timer;
    bool passed = false;
  };

  awaitable<void> run();
  awaitable<bool> serve_one();

  // --- the request
  awaitable<HeadRead> read_head(std::size_t& head_bytes);
  awaitable<bool> read_some(std::size_t bytes_max);
  std::optional<Response> refuse_head(HeadRead read, const Request& request) const;
  std::optional<Response> admit(std::size_t head_bytes, Request& request);
  awaitable<bool> invite();
  BodyPlan plan_for(const Request& request);
  awaitable<BodyRead> read_body(std::string& body, bool piecewise);
  std::optional<Response> refuse_body(BodyRead read, const std::string& request_id) const;
  void read_piece(std::uint64_t turn, BodySource::Give give);
  awaitable<BodyPiece> piece();

  // --- the answer
  void ask(const Request& request);
  awaitable<void> await_answer(std::chrono::milliseconds time);
  Response take_answer(const Request& request);
  awaitable<bool> write(const Request& request, Response response);
  awaitable<bool> write_pieces(std::shared_ptr<BodySource> source, bool chunked);
  awaitable<void> await_piece(BodySource& source);
  awaitable<bool> send(std::string_view bytes, std::chrono::milliseconds time);
  void listen();
  awaitable<void> hear();

  // --- waiting
  void wait_for_client();
  void arm(Limit HttpConnection::*limit, std::chrono::milliseconds time);
  void expire(Limit HttpConnection::*limit);
  void wake() { wake_.cancel(); }
  awaitable<void> await_wake(Time until);
  awaitable<void> settle();
  awaitable<void> drain();

  std::string_view buffered() const;
  void record(const Request& request, unsigned status, std::size_t bytes);
  void log_handler(std::string_view request_id, const std::exception& error);
  void log_exception(const std::exception_ptr& error);
  std::string next_id() { return service_.id_prefix + std::to_string(service_.next_id++); }

  const std::unique_ptr<Channel> channel_;
  const std::string peer_;
  const std::string refuse_;
  Service& service_;
  Limit reading_limit_;
  Limit writing_limit_;
  boost::asio::steady_timer wake_;  // run() alone waits for it
  boost::beast::flat_buffer buffer_;
  std::optional<BodyParser> parser_;
  BodyPlan plan_;
  GaugeHold hold_;
  std::optional<Response> answer_;
  std::optional<BodyPiece> piece_;  // of the answer's source
  std::array<char, 512> ahead_;     // what listen() reads
  std::string fault_;               // of the last malformed head or body
  std::string request_id_;
  std::optional<Time> waiting_since_;
  Time started_;
  Time answer_by_;
  std::uint64_t turn_ = 0;          // of the request that is handled
  std::uint64_t piece_number_ = 0;  // of the piece of its answer that is waited for
  bool first_ = true;
  bool keep_alive_ = true;
  bool must_invite_ = false;
  bool asking_ = false;     // the handler may still answer
  bool reading_ = false;    // a piece of the body is being read
  bool listening_ = false;  // listen() is reading; only ever with nothing in the buffer
  bool ended_ = false;      // the client has ended its side
  bool gone_ = false;       // nobody is there any more
  bool endless_ = false;    // the answer that goes out has no end of its own
  bool closed_ = false;
};

}  // namespace fieldgate::http
