// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/connection.h"

#include "adapters/http/body_parser.h"
#include "adapters/http/finish.h"
#include "adapters/http/problem.h"
#include "adapters/http/request_gate.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include <algorithm>
#include <exception>
#include <type_traits>

namespace fieldgate::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using PlainStream = tcp::socket;
using TlsStream = asio::ssl::stream<tcp::socket>;

constexpr std::size_t k_read_bytes = 4'096;
// A client that is still sending when its answer is final gets this much time and
// room, so that the answer is not lost to a reset.
constexpr milliseconds k_linger{1'000};
constexpr std::size_t k_linger_bytes_max = 262'144;

enum class HeadRead { complete, ended, timed_out, too_large, malformed };
enum class BodyRead { complete, ended, timed_out, too_large, malformed };

template <class Stream>
class BasicConnection final : public Connection, public std::enable_shared_from_this<BasicConnection<Stream>> {
  static constexpr bool k_tls = std::is_same_v<Stream, TlsStream>;

 public:
  BasicConnection(Stream stream, ConnectionOptions options, Service& service)
      : tls_(std::move(options.tls)),
        peer_(std::move(options.peer)),
        refuse_(options.refuse),
        service_(service),
        stream_(std::move(stream)),
        deadline_(stream_.get_executor()),
        answered_(stream_.get_executor()),
        buffer_(service.settings.header_bytes_max + k_read_bytes) {
    if (!refuse_) hold_ = GaugeHold(service.probe.connections);
  }

  void start(std::function<void()> ended) {
    asio::co_spawn(stream_.get_executor(), run(), [self = this->shared_from_this(), ended](std::exception_ptr error) {
      if (error) self->log_exception(error);
      self->close();
      ended();
    });
  }

  void close() override {
    closed_ = true;
    deadline_.cancel();
    answered_.cancel();
    error_code ignored;
    socket().close(ignored);
  }

 private:
  tcp::socket& socket() {
    if constexpr (k_tls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  // Whatever is waited for on the socket ends after `time`, with timed_out_ set.
  void arm(milliseconds time) {
    timed_out_ = false;
    deadline_.expires_after(time);
    deadline_.async_wait([weak = this->weak_from_this()](const error_code& ec) {
      if (ec) return;
      if (const auto self = weak.lock()) self->expire();
    });
  }

  void expire() {
    if (deadline_.expiry() > std::chrono::steady_clock::now()) return;  // armed anew since
    timed_out_ = true;
    error_code ignored;
    socket().cancel(ignored);
  }

  asio::awaitable<void> run() {
    error_code ec;
    if constexpr (k_tls) {
      arm(service_.settings.request_timeout);
      co_await stream_.async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, ec));
      if (ec) co_return;
    }
    bool linger = true;
    if (refuse_) {
      Request none;
      none.id = next_id();
      const std::string detail = "all " + std::to_string(service_.settings.connections_max) + " connections are in use";
      Response refusal = make_problem(Problem::too_many_connections, none.id, detail);
      refusal.close = true;
      linger = co_await write(none, std::move(refusal));
    } else {
      while (keep_alive_ && !closed_) linger = co_await serve_one();
    }
    if (linger && !closed_) co_await drain();
  }

  // One request and its answer. False if the peer is gone; keep_alive_ says
  // whether another may follow.
  asio::awaitable<bool> serve_one() {
    Request request;
    request.peer = peer_;
    std::size_t head_bytes = 0;
    const HeadRead read = co_await read_head(head_bytes);
    if (read == HeadRead::ended) {
      keep_alive_ = false;
      co_return false;
    }
    request.id = next_id();
    std::optional<Response> refusal = refuse_head(read, request);
    if (!refusal) refusal = admit(head_bytes, request);
    if (!refusal && request.head.has_body() && plan_.mode != BodyMode::none) {
      const BodyRead body = co_await read_body(request.body);
      if (body == BodyRead::ended) {
        keep_alive_ = false;
        co_return false;
      }
      refusal = refuse_body(body, request);
    }
    if (refusal) {
      refusal->close = true;
      co_return co_await write(request, std::move(*refusal));
    }
    ask(request);
    if (!answer_) {
      error_code ignored;
      co_await answered_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (closed_) co_return false;
    Response response = take_answer(request);
    co_return co_await write(request, std::move(response));
  }

  asio::awaitable<HeadRead> read_head(std::size_t& head_bytes) {
    const ServerSettings& settings = service_.settings;
    std::size_t searched = 0;
    bool begun = buffer_.size() > 0;
    started_ = std::chrono::steady_clock::now();
    arm(begun || first_ ? settings.request_timeout : settings.idle_timeout);
    first_ = false;
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
      if (!co_await read_some()) co_return timed_out_&& begun ? HeadRead::timed_out : HeadRead::ended;
      if (!begun) {
        begun = true;
        started_ = std::chrono::steady_clock::now();
        arm(settings.request_timeout);
      }
    }
  }

  // Reads what there is, at most what the buffer may take more.
  asio::awaitable<bool> read_some() {
    error_code ec;
    const std::size_t room = std::min(k_read_bytes, buffer_.max_size() - buffer_.size());
    const std::size_t n =
        co_await stream_.async_read_some(buffer_.prepare(room), asio::redirect_error(asio::use_awaitable, ec));
    buffer_.commit(n);
    co_return !ec && n > 0;
  }

  std::string_view buffered() const { return {static_cast<const char*>(buffer_.data().data()), buffer_.size()}; }

  std::optional<Response> refuse_head(HeadRead read, const Request& request) {
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
  std::optional<Response> admit(std::size_t head_bytes, Request& request) {
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
      return refuse_body(BodyRead::too_large, request);
    }
    // A body that is not read may be of any size.
    const std::uint64_t limit = plan_.mode == BodyMode::none ? ~std::uint64_t{0} : plan_.bytes_max;
    Result<BodyParser> parser = BodyParser::begin(buffered().substr(0, head_bytes), limit);
    if (!parser) return make_problem(Problem::malformed_request, request.id, parser.error().detail);
    parser_.emplace(std::move(*parser));
    buffer_.consume(head_bytes);
    must_invite_ = request.head.expects_continue && buffer_.size() == 0;
    return std::nullopt;
  }

  BodyPlan plan_for(const Request& request) {
    try {
      return service_.handler.accepts(request);
    } catch (const std::exception& error) {
      log_handler(request, error);
      return {BodyMode::none};
    }
  }

  asio::awaitable<BodyRead> read_body(std::string& body) {
    error_code ec;
    if (must_invite_) {
      constexpr std::string_view k_continue = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await asio::async_write(stream_, asio::buffer(k_continue), asio::redirect_error(asio::use_awaitable, ec));
      if (ec) co_return BodyRead::ended;
    }
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
      if (!co_await read_some()) co_return timed_out_ ? BodyRead::timed_out : BodyRead::ended;
    }
    co_return BodyRead::complete;
  }

  std::optional<Response> refuse_body(BodyRead read, const Request& request) {
    switch (read) {
      case BodyRead::complete:
      case BodyRead::ended: break;
      case BodyRead::timed_out:
        return make_problem(Problem::request_timeout, request.id, "the body was not complete in time");
      case BodyRead::too_large:
        return make_problem(Problem::body_too_large, request.id,
                            "a body may have " + std::to_string(plan_.bytes_max) + " bytes here");
      case BodyRead::malformed: return make_problem(Problem::malformed_request, request.id, fault_);
    }
    return std::nullopt;
  }

  // Hands the request over. The answer may come at once, later, or never: then
  // answered_ ends the wait.
  void ask(const Request& request) {
    deadline_.cancel();
    answer_.reset();
    answered_.expires_after(service_.settings.request_timeout + service_.handler.patience(request));
    const std::uint64_t turn = ++turn_;
    try {
      service_.handler.handle(request, [weak = this->weak_from_this(), turn](Response response) {
        const auto self = weak.lock();
        if (self == nullptr || self->turn_ != turn) return;
        self->answer_ = std::move(response);
        self->answered_.cancel();
      });
    } catch (const std::exception& error) {
      log_handler(request, error);
      answer_ = make_problem(Problem::internal_error, request.id, "the log has more under this request's id");
    }
  }

  Response take_answer(const Request& request) {
    ++turn_;  // what comes now is too late
    if (!answer_) return make_problem(Problem::answer_timeout, request.id, "try again");
    Response response = std::move(*answer_);
    answer_.reset();
    return response;
  }

  asio::awaitable<bool> write(const Request& request, Response response) {
    if (response.close) keep_alive_ = false;
    finish(request, service_.settings.cors_origins, response);
    const std::string text = serialize(response, request.head.method == "HEAD", keep_alive_, service_.clock.unix_ms());
    error_code ec;
    arm(service_.settings.request_timeout);
    co_await asio::async_write(stream_, asio::buffer(text), asio::redirect_error(asio::use_awaitable, ec));
    record(request, response.status, text.size());
    if (ec) keep_alive_ = false;
    co_return !ec;
  }

  void record(const Request& request, unsigned status, std::size_t bytes) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started_);
    const auto& statuses = HttpProbe::k_statuses;
    const auto at = std::find(statuses.begin(), statuses.end(), status) - statuses.begin();
    service_.probe.responses[static_cast<std::size_t>(at)].add();
    if (!refuse_) service_.probe.request_time.observe(static_cast<std::uint64_t>(us.count()));
    service_.log.debug("http_request", {{"server", service_.settings.name},
                                        {"id", request.id},
                                        {"peer", peer_},
                                        {"method", request.head.method},
                                        {"target", request.head.target},
                                        {"status", status},
                                        {"bytes", bytes},
                                        {"us", us.count()}});
  }

  // Ends our side, and takes what the client has still under way.
  asio::awaitable<void> drain() {
    error_code ec;
    arm(k_linger);
    if constexpr (k_tls) co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, ec));
    socket().shutdown(tcp::socket::shutdown_send, ec);
    buffer_.clear();
    for (std::size_t total = 0; total < k_linger_bytes_max && !timed_out_ && !closed_;) {
      const std::size_t n = co_await socket().async_read_some(buffer_.prepare(k_read_bytes),
                                                              asio::redirect_error(asio::use_awaitable, ec));
      if (ec) co_return;
      total += n;
    }
  }

  void log_handler(const Request& request, const std::exception& error) {
    service_.log.error("http_handler_exception", {{"id", request.id}, {"error", std::string_view(error.what())}});
  }

  std::string next_id() { return service_.id_prefix + std::to_string(service_.next_id++); }

  void log_exception(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      service_.log.error("http_connection_exception", {{"peer", peer_}, {"error", std::string_view(e.what())}});
    }
  }

  const std::shared_ptr<asio::ssl::context> tls_;  // keeps it while stream_ lives
  const std::string peer_;
  const bool refuse_;
  Service& service_;
  Stream stream_;
  asio::steady_timer deadline_;
  asio::steady_timer answered_;
  boost::beast::flat_buffer buffer_;
  std::optional<BodyParser> parser_;
  BodyPlan plan_;
  GaugeHold hold_;
  std::optional<Response> answer_;
  std::string fault_;  // of the last malformed head or body
  std::chrono::steady_clock::time_point started_;
  std::uint64_t turn_ = 0;
  bool first_ = true;
  bool keep_alive_ = true;
  bool must_invite_ = false;
  bool timed_out_ = false;
  bool closed_ = false;
};

}  // namespace

std::shared_ptr<Connection> start_connection(tcp::socket socket, ConnectionOptions options, Service& service,
                                             std::function<void()> ended) {
  if (options.tls != nullptr) {
    TlsStream stream(std::move(socket), *options.tls);
    auto connection = std::make_shared<BasicConnection<TlsStream>>(std::move(stream), std::move(options), service);
    connection->start(std::move(ended));
    return connection;
  }
  auto connection = std::make_shared<BasicConnection<PlainStream>>(std::move(socket), std::move(options), service);
  connection->start(std::move(ended));
  return connection;
}

}  // namespace fieldgate::http
