// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/http_server.h"

#include "adapters/http/connection.h"
#include "gateway/core/address_book.h"
#include "gateway/core/tls_suites.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <pthread.h>

#include <random>
#include <thread>
#include <unordered_map>

namespace fieldgate::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using TlsContext = std::shared_ptr<asio::ssl::context>;

constexpr std::size_t k_refusing_max = 64;
constexpr milliseconds k_accept_pause{100};

class AsioLoop final : public Loop {
 public:
  void post(std::function<void()> fn) override { asio::post(io, std::move(fn)); }

  void after(milliseconds delay, std::function<void()> fn) override {
    auto timer = std::make_shared<asio::steady_timer>(io, delay);
    timer->async_wait([timer, fn = std::move(fn)](const error_code& ec) {
      if (!ec) fn();
    });
  }

  asio::io_context io{1};
};

std::string to_text(const Endpoint& endpoint) {
  const bool v6 = endpoint.address.find(':') != std::string::npos;
  return (v6 ? "[" + endpoint.address + "]" : endpoint.address) + ":" + std::to_string(endpoint.port);
}

std::string to_text(const tcp::endpoint& endpoint) {
  return to_text(Endpoint{endpoint.address().to_string(), endpoint.port()});
}

Result<TlsContext> make_tls(const std::string& certificate_file, const std::string& key_file) {
  if (certificate_file.empty() && key_file.empty()) return TlsContext();
  if (certificate_file.empty() || key_file.empty()) {
    return make_error(Errc::invalid_argument, "HTTPS needs both certificate_file and key_file");
  }
  using Context = asio::ssl::context;
  auto context = std::make_shared<Context>(Context::tls_server);
  error_code ec;
  SSL_CTX* const ctx = context->native_handle();
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, k_tls12_suites) != 1 ||
      SSL_CTX_set_ciphersuites(ctx, k_tls13_suites) != 1 || SSL_CTX_set1_groups_list(ctx, k_tls_groups) != 1) {
    return make_error(Errc::internal, "TLS cannot be set up");
  }
  context->use_certificate_chain_file(certificate_file, ec);
  if (ec)
    return make_error(Errc::invalid_argument, "certificate " + certificate_file + " cannot be used: " + ec.message());
  context->use_private_key_file(key_file, Context::pem, ec);
  if (ec) return make_error(Errc::invalid_argument, "key " + key_file + " cannot be used: " + ec.message());
  if (SSL_CTX_check_private_key(ctx) != 1) {
    return make_error(Errc::invalid_argument,
                      "key " + key_file + " does not belong to certificate " + certificate_file);
  }
  return context;
}

Error bind_error(const Endpoint& endpoint, const error_code& ec) {
  std::string why = ec.message();
  if (ec == asio::error::address_in_use) why = "address in use: another process listens on";
  if (ec == asio::error::access_denied) why = "not allowed to listen on (ports below 1024 need CAP_NET_BIND_SERVICE)";
  if (ec == boost::system::errc::address_not_available) why = "this machine does not have the address of";
  return {ec, why + " " + to_text(endpoint)};
}

std::string random_prefix() {
  std::random_device device;
  std::string text;
  for (int i = 0; i < 8; ++i) text.push_back("0123456789abcdef"[device() % 16]);
  return text + "-";
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(ServerSettings settings, Handler& handler, const Clock& clock, Log& log, HttpProbe& probe)
      : service_{std::move(settings), handler, clock, log, probe, random_prefix()},
        loop_(std::make_shared<AsioLoop>()),
        acceptor_(loop_->io),
        pause_(loop_->io) {}

  std::shared_ptr<Loop> loop() const { return loop_; }

  Result<std::uint16_t> start() {
    Result<TlsContext> tls = make_tls(service_.settings.certificate_file, service_.settings.key_file);
    if (!tls) return tls.error();
    tls_ = std::move(*tls);
    if (Result<void> bound = bind(); !bound) return bound.error();
    const std::uint16_t port = acceptor_.local_endpoint().port();
    accept();
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), ("http-" + service_.settings.name).substr(0, 15).c_str());
    return port;
  }

  void stop() {
    if (!thread_.joinable()) return;
    loop_->post([this] {
      stopping_ = true;
      error_code ignored;
      acceptor_.close(ignored);
      pause_.cancel();
      for (const auto& [number, connection] : connections_) {
        if (connection != nullptr) connection->close();
      }
      if (connections_.empty()) loop_->io.stop();
    });
    thread_.join();
  }

  Result<void> reload_certificate() {
    Result<TlsContext> tls = make_tls(service_.settings.certificate_file, service_.settings.key_file);
    if (!tls) return tls.error();
    loop_->post([this, fresh = std::move(*tls)] { tls_ = fresh; });
    return {};
  }

 private:
  Result<void> bind() {
    const Endpoint& listen = service_.settings.listen;
    error_code ec;
    const auto address = asio::ip::make_address(listen.address, ec);
    if (ec) return make_error(Errc::invalid_argument, "'" + listen.address + "' is not a numeric IPv4 or IPv6 address");
    const tcp::endpoint endpoint(address, listen.port);
    acceptor_.open(endpoint.protocol(), ec);
    if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) {
      error_code ignored;
      acceptor_.close(ignored);
      return bind_error(listen, ec);
    }
    return {};
  }

  void run() {
    const auto work = asio::make_work_guard(loop_->io);
    for (;;) {
      try {
        loop_->io.run();
        return;
      } catch (const std::exception& error) {
        service_.log.error("http_exception",
                           {{"server", service_.settings.name}, {"error", std::string_view(error.what())}});
      }
    }
  }

  void accept() {
    acceptor_.async_accept([this](const error_code& ec, tcp::socket socket) {
      if (stopping_) return;
      if (ec == asio::error::no_descriptors || ec == boost::system::errc::too_many_files_open_in_system ||
          ec == asio::error::no_memory || ec == asio::error::no_buffer_space) {
        service_.log.error("http_accept_paused",
                           {{"server", service_.settings.name}, {"error", std::string_view(ec.message())}});
        pause_.expires_after(k_accept_pause);
        pause_.async_wait([this](const error_code& cancelled) {
          if (!cancelled && !stopping_) accept();
        });
        return;
      }
      accept();
      if (!ec) serve(std::move(socket));
    });
  }

  // Counts a connection from there; else why it is refused.
  std::string enter(const tcp::endpoint& peer) {
    const ServerSettings& settings = service_.settings;
    std::string why;
    if (!addresses_.enter(peer.address(), settings.connections_per_address_max)) {
      service_.probe.refused_address.add();
      why = "this address has " + std::to_string(settings.connections_per_address_max) + " connections already";
    } else if (serving_ >= settings.connections_max && !displace()) {
      addresses_.leave(peer.address());
      service_.probe.refused_full.add();
      why = "all " + std::to_string(settings.connections_max) + " connections are in use";
    }
    if (why.empty()) {
      ++serving_;
    } else {
      service_.log.warn("http_connection_refused",
                        {{"server", settings.name}, {"peer", to_text(peer)}, {"why", std::string_view(why)}});
    }
    return why;
  }

  // Closes the connection that has waited longest for its client: whoever sends nothing, takes
  // nothing, or does so slowly, keeps nobody out. False: all have a request at work.
  bool displace() {
    Connection* longest = nullptr;
    auto since = std::chrono::steady_clock::time_point::max();
    for (const auto& [number, connection] : connections_) {
      const auto waiting = connection != nullptr ? connection->waiting_since() : std::nullopt;
      if (!waiting || *waiting >= since) continue;
      longest = connection.get();
      since = *waiting;
    }
    if (longest == nullptr) return false;
    service_.probe.displaced.add();
    service_.log.warn("http_connection_displaced",
                      {{"server", service_.settings.name}, {"connections_max", service_.settings.connections_max}});
    longest->close();
    return true;
  }

  void serve(tcp::socket socket) {
    error_code ec;
    const tcp::endpoint peer = socket.remote_endpoint(ec);
    if (ec) return;  // gone already
    socket.set_option(tcp::no_delay(true), ec);
    ConnectionOptions options{tls_, enter(peer), to_text(peer)};
    const bool refused = !options.refuse.empty();
    if (refused && connections_.size() - serving_ >= k_refusing_max) return;
    const std::uint64_t number = next_connection_++;
    connections_.emplace(number, nullptr);  // first, so that `ended` finds it however early it comes
    const auto ended = [this, number, refused, address = peer.address()] {
      connections_.erase(number);
      if (!refused) {
        --serving_;
        addresses_.leave(address);
      }
      if (stopping_ && connections_.empty()) loop_->io.stop();
    };
    auto connection = start_connection(std::move(socket), std::move(options), service_, ended);
    if (const auto at = connections_.find(number); at != connections_.end()) at->second = std::move(connection);
  }

  Service service_;
  const std::shared_ptr<AsioLoop> loop_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  TlsContext tls_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> connections_;
  std::uint64_t next_connection_ = 0;
  std::size_t serving_ = 0;
  AddressBook addresses_;
  bool stopping_ = false;
  std::thread thread_;
};

HttpServer::HttpServer(ServerSettings settings, Handler& handler, const Clock& clock, Log& log, HttpProbe& probe)
    : impl_(std::make_unique<Impl>(std::move(settings), handler, clock, log, probe)) {}
HttpServer::~HttpServer() { stop(); }
std::shared_ptr<Loop> HttpServer::loop() const { return impl_->loop(); }
Result<std::uint16_t> HttpServer::start() { return impl_->start(); }
void HttpServer::stop() { impl_->stop(); }
Result<void> HttpServer::reload_certificate() { return impl_->reload_certificate(); }

}  // namespace fieldgate::http
