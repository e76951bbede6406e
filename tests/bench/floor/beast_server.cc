// SPDX-License-Identifier: Apache-2.0
//
// The usual way: Beast's WebSocket on Asio's TLS stream, a session object with a
// callback for each step and a buffer of its own, as in Beast's own examples. It does
// what floor_server.cc does with messages, and like it asks nobody who they are.
#include "gateway/net/upgrade.h"
#include "tests/bench/floor/job.h"

#include <openssl/ssl.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using asio::ip::tcp;
using boost::system::error_code;

class Server;

class Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(Server& server, tcp::socket socket, asio::ssl::context& tls)
      : server_(server), stream_(std::move(socket), tls) {}

  void start() {
    stream_.next_layer().async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](error_code ec) {
      if (!ec) self->accept();
    });
  }
  void acknowledge();

 private:
  void accept() {
    stream_.binary(true);
    stream_.set_option(websocket::stream_base::decorator(
        [](websocket::response_type& answer) { answer.set("Sec-WebSocket-Protocol", k_subprotocol); }));
    stream_.async_accept([self = shared_from_this()](error_code ec) {
      if (!ec) self->read();
    });
  }
  void read() {
    stream_.async_read(buffer_, [self = shared_from_this()](error_code ec, std::size_t) {
      if (!ec) self->take();
    });
  }
  void take();
  void answer(const std::string& message) {
    waiting_.push_back(message);
    if (!writing_) write();
  }
  void write() {
    if (waiting_.empty()) return;
    writing_ = true;
    sending_ = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    stream_.async_write(asio::buffer(sending_), [self = shared_from_this()](error_code ec, std::size_t) {
      self->writing_ = false;
      if (!ec) self->write();
    });
  }

  Server& server_;
  websocket::stream<asio::ssl::stream<tcp::socket>> stream_;
  beast::flat_buffer buffer_;
  std::vector<std::string> waiting_;
  std::string sending_;
  bool writing_ = false;
  Device device_;
};

class Server {
 public:
  explicit Server(const ServerOptions& options)
      : options_(options),
        tls_(load_tls(options.pki)),
        context_(borrow(tls_->native())),
        job_(options),
        acceptor_(io_),
        timer_(io_) {
    acceptor_.assign(tcp::v4(), listen_on(options.port));
    accept();
  }

  void run() { io_.run(); }

  Job& job() { return job_; }

  // An Ack is due to it.
  void acknowledge_later(std::weak_ptr<Session> to) {
    due_.push_back(std::move(to));
    if (due_.size() > 1) return;
    timer_.expires_after(std::chrono::milliseconds(options_.ack_every_ms));
    timer_.async_wait([this](error_code) {
      for (const auto& session : std::exchange(due_, {})) {
        if (const auto alive = session.lock()) alive->acknowledge();
      }
    });
  }

 private:
  static SSL_CTX* borrow(SSL_CTX* context) {
    SSL_CTX_up_ref(context);
    return context;
  }

  void accept() {
    acceptor_.async_accept([this](error_code ec, tcp::socket socket) {
      if (!ec) {
        socket.set_option(tcp::no_delay(true), ec);
        std::make_shared<Session>(*this, std::move(socket), context_)->start();
      }
      accept();
    });
  }

  const ServerOptions options_;
  const std::shared_ptr<const TlsContext> tls_;
  asio::io_context io_{1};
  asio::ssl::context context_;
  Job job_;
  tcp::acceptor acceptor_;
  asio::steady_timer timer_;
  std::vector<std::weak_ptr<Session>> due_;
};

void Session::take() {
  const auto data = buffer_.cdata();
  const auto outcome = server_.job().take(device_, {static_cast<const std::byte*>(data.data()), data.size()});
  buffer_.consume(buffer_.size());
  if (outcome == Job::Outcome::fault) return;  // the last reference goes, and with it the connection
  if (outcome == Job::Outcome::answer) answer(server_.job().answer());
  if (outcome == Job::Outcome::wait) server_.acknowledge_later(weak_from_this());
  read();
}

void Session::acknowledge() {
  device_.ack_listed = false;
  if (const std::string* ack = server_.job().acknowledge(device_)) answer(*ack);
}

}  // namespace
}  // namespace fieldgate::bench

int main(int argc, char** argv) {
  fieldgate::bench::Server server(fieldgate::bench::read_options(argc, argv, "Plain Beast on asio::ssl::stream"));
  std::puts("ready");
  std::fflush(stdout);
  server.run();
}
