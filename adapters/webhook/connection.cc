// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <array>
#include <optional>
#include <utility>

namespace fieldgate::webhook {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using std::chrono::milliseconds;

constexpr std::size_t k_head_bytes_max = 16'384;
constexpr std::size_t k_body_bytes_max = 65'536;
constexpr std::size_t k_read_bytes = 8'192;
constexpr int k_interim_max = 16;

class Http1Connection final : public Connection, public std::enable_shared_from_this<Http1Connection> {
  using Self = std::shared_ptr<Http1Connection>;
  using Parser = http::response_parser<http::string_body>;

 public:
  Http1Connection(asio::io_context& io, std::array<Cell, 5>& responses)
      : socket_(io), deadline_(io), responses_(responses), buffer_(k_head_bytes_max + k_read_bytes) {}

  void open(Peer peer, milliseconds patience, Opened opened) override {
    peer_ = std::move(peer);
    opened_ = std::move(opened);
    until_ = std::chrono::steady_clock::now() + patience;
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->state_ == State::opening) self->try_next();
    });
  }

  void exchange(std::string head, Body body, milliseconds patience, Concluded concluded) override {
    head_ = std::move(head);
    body_ = std::move(body);
    concluded_ = std::move(concluded);
    parser_.reset();
    heard_ = false;
    interims_ = 0;
    state_ = State::busy;
    written_ = false;
    arm(std::chrono::steady_clock::now() + patience);
    const std::array<asio::const_buffer, 2> parts = {asio::buffer(head_), asio::buffer(*body_)};
    auto handler = [self = shared_from_this()](error_code ec, std::size_t) {
      // Where it fails, the reader learns why: there may be an answer on its way.
      if (!ec) self->written_ = true;
    };
    if (tls_) {
      asio::async_write(*tls_, parts, std::move(handler));
    } else {
      asio::async_write(socket_, parts, std::move(handler));
    }
  }

  bool usable() const noexcept override { return state_ == State::idle; }

  void close() noexcept override {
    opened_ = nullptr;
    concluded_ = nullptr;
    shut();
  }

 private:
  enum class State : std::uint8_t { opening, idle, busy, closed };

  void shut() noexcept {
    state_ = State::closed;
    deadline_.cancel();
    error_code ignored;
    socket_.close(ignored);
  }

  void arm(std::chrono::steady_clock::time_point at) {
    timed_out_ = false;
    deadline_.expires_at(at);
    deadline_.async_wait([weak = weak_from_this()](error_code cancelled) {
      const Self self = weak.lock();
      if (cancelled || !self || self->deadline_.expiry() > std::chrono::steady_clock::now()) return;
      self->expire();
    });
  }

  void expire() {
    timed_out_ = true;
    if (state_ == State::busy) return fail(Errc::timed_out, "no whole answer in time");
    error_code ignored;
    socket_.close(ignored);  // what is waited for ends, and says so
  }

  // ---- opening

  // Each address has its share of what is left of the time.
  void try_next() {
    const auto now = std::chrono::steady_clock::now();
    const std::size_t left = peer_.endpoints.size() - tried_;
    if (left == 0 || now >= until_) return opening_failed();
    at_ = peer_.endpoints[tried_++];
    tls_.reset();
    error_code ignored;
    socket_.close(ignored);
    arm(now + (until_ - now) / left);
    socket_.async_connect(at_, [self = shared_from_this()](error_code ec) { self->connected(ec); });
  }

  void connected(error_code ec) {
    if (state_ == State::closed) return;
    if (ec || timed_out_) return attempt_failed(ec, "connecting");
    socket_.set_option(tcp::no_delay(true), ec);
    if (!peer_.tls) return ready();
    tls_.emplace(socket_, *peer_.tls);
    if (!expect_host()) return attempt_failed(asio::error::no_memory, "TLS");
    tls_->async_handshake(asio::ssl::stream_base::client,
                          [self = shared_from_this()](error_code failed) { self->shaken(failed); });
  }

  // The certificate must be for the host of the URL, whatever address that is at
  // (RFC 9110 section 4.3.4).
  bool expect_host() {
    SSL* ssl = tls_->native_handle();
    error_code not_numeric;
    asio::ip::make_address(peer_.host, not_numeric);
    X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
    if (!not_numeric) return X509_VERIFY_PARAM_set1_ip_asc(param, peer_.host.c_str()) == 1;
    std::string name = peer_.host;
    if (name.ends_with('.')) name.pop_back();
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
  }

  void shaken(error_code ec) {
    if (state_ == State::closed) return;
    if (ec || timed_out_) return attempt_failed(ec, "TLS");
    ready();
  }

  void attempt_failed(error_code ec, const char* phase) {
    std::string why = timed_out_ ? "no answer in time" : ec.message();
    if (tls_) {
      const long verdict = SSL_get_verify_result(tls_->native_handle());
      if (verdict != X509_V_OK) {
        why = std::string("the target's certificate is not accepted: ") + X509_verify_cert_error_string(verdict);
      }
    }
    error_ = at_.address().to_string() + " port " + std::to_string(at_.port()) + ": " + phase + ": " + why;
    all_timed_out_ = all_timed_out_ && timed_out_;
    try_next();
  }

  void opening_failed() {
    shut();
    const Opened opened = std::exchange(opened_, nullptr);
    if (opened) opened(make_error(all_timed_out_ ? Errc::timed_out : Errc::unavailable, error_));
  }

  void ready() {
    state_ = State::idle;
    deadline_.cancel();
    read();
    const Opened opened = std::exchange(opened_, nullptr);
    if (opened) opened({});
  }

  // ---- answers

  void read() {
    auto handler = [self = shared_from_this()](error_code ec, std::size_t n) { self->have_read(ec, n); };
    const std::size_t room = std::min(k_read_bytes, buffer_.max_size() - buffer_.size());
    if (tls_) {
      tls_->async_read_some(buffer_.prepare(room), std::move(handler));
    } else {
      socket_.async_read_some(buffer_.prepare(room), std::move(handler));
    }
  }

  void have_read(error_code ec, std::size_t n) {
    if (state_ == State::closed) return;
    if (state_ == State::idle) return shut();  // hung up, or said something unasked
    buffer_.commit(n);
    heard_ = heard_ || n > 0;
    if (ec) return ended(ec);
    parse();
  }

  void ended(error_code ec) {
    if (!heard_) {
      const std::string why = ec == asio::error::eof ? std::string() : ": " + ec.message();
      return fail(Errc::closed, "the target closed the connection without an answer" + why);
    }
    if (ec == asio::error::eof && parser_ && parser_->is_header_done()) {
      parser_->put_eof(ec);
      if (!ec && parser_->is_done()) return conclude();
    }
    fail(Errc::malformed, "the target closed the connection in the middle of its answer");
  }

  void parse() {
    error_code ec;
    while (buffer_.size() > 0) {
      if (!parser_) {
        parser_.emplace();
        parser_->header_limit(k_head_bytes_max);
        parser_->body_limit(k_body_bytes_max);
        parser_->eager(true);
      }
      const std::size_t used = parser_->put(buffer_.data(), ec);
      buffer_.consume(used);
      if (ec == http::error::body_limit && parser_->is_header_done()) return conclude();
      if (ec && ec != http::error::need_more) {
        return fail(Errc::malformed, "what the target answered is not HTTP as it should be: " + ec.message());
      }
      if (parser_->is_done()) {
        if (parser_->get().result_int() >= 200) return conclude();
        if (!interim()) return;
        continue;
      }
      if (used == 0) break;
    }
    if (buffer_.size() == buffer_.max_size())
      return fail(Errc::malformed, "the head of the target's answer is too large");
    read();
  }

  // 1xx: the answer itself is still to come (RFC 9110 section 15.2).
  bool interim() {
    const unsigned status = parser_->get().result_int();
    responses_[0].add();
    if (status == 101 || status < 100 || ++interims_ > k_interim_max) {
      fail(Errc::malformed, "the target sent an interim answer (" + std::to_string(status) + ") that makes no sense");
      return false;
    }
    parser_.reset();
    return true;
  }

  void conclude() {
    auto& message = parser_->get();
    Answer answer;
    answer.status = message.result_int();
    const unsigned status_class = answer.status / 100;
    if (status_class >= 1 && status_class <= responses_.size()) responses_[status_class - 1].add();
    if (status_class == 2 && !written_) {
      return fail(Errc::malformed, "the target answered before it had the whole request");
    }
    answer.retry_after = message[http::field::retry_after];
    answer.location = message[http::field::location];
    answer.body = std::move(message.body());
    const bool lasts = parser_->is_done() && parser_->keep_alive() && written_ && buffer_.size() == 0;
    parser_.reset();
    deadline_.cancel();
    if (lasts) {
      state_ = State::idle;
      read();
    } else {
      shut();
    }
    const Concluded concluded = std::exchange(concluded_, nullptr);
    if (concluded) concluded(std::move(answer));
  }

  void fail(Errc code, std::string why) {
    shut();
    const Concluded concluded = std::exchange(concluded_, nullptr);
    if (concluded) concluded(make_error(code, std::move(why)));
  }

  tcp::socket socket_;
  asio::steady_timer deadline_;
  std::array<Cell, 5>& responses_;
  State state_ = State::opening;
  bool timed_out_ = false;

  Peer peer_;  // keeps the TLS context, which tls_ borrows
  std::optional<asio::ssl::stream<tcp::socket&>> tls_;
  Opened opened_;
  std::chrono::steady_clock::time_point until_;
  std::size_t tried_ = 0;
  tcp::endpoint at_;
  std::string error_ = "there was no time to connect";
  bool all_timed_out_ = true;

  Concluded concluded_;
  std::string head_;
  Body body_;
  bool written_ = false;
  bool heard_ = false;  // any byte since the request began
  int interims_ = 0;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
};

}  // namespace

std::shared_ptr<Connection> Connection::make(asio::io_context& io, std::array<Cell, 5>& responses) {
  return std::make_shared<Http1Connection>(io, responses);
}

}  // namespace fieldgate::webhook
