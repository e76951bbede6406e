// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/channel.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <type_traits>
#include <utility>

namespace fieldgate::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using TlsStream = asio::ssl::stream<tcp::socket>;

template <class Stream>
class StreamChannel final : public Channel {
  static constexpr bool k_tls = std::is_same_v<Stream, TlsStream>;

 public:
  StreamChannel(Stream stream, std::shared_ptr<asio::ssl::context> tls)
      : tls_(std::move(tls)), stream_(std::move(stream)) {}

  asio::awaitable<error_code> handshake() override {
    error_code ec;
    if constexpr (k_tls) {
      co_await stream_.async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, ec));
    }
    co_return ec;
  }

  asio::awaitable<std::size_t> read_some(asio::mutable_buffer into, error_code& ec) override {
    co_return co_await stream_.async_read_some(into, asio::redirect_error(asio::use_awaitable, ec));
  }

  asio::awaitable<error_code> write(asio::const_buffer bytes) override {
    error_code ec;
    co_await asio::async_write(stream_, bytes, asio::redirect_error(asio::use_awaitable, ec));
    co_return ec;
  }

  asio::awaitable<void> end() override {
    error_code ec;
    if constexpr (k_tls) co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, ec));
    socket().shutdown(tcp::socket::shutdown_send, ec);
    co_return;
  }

  tcp::socket& socket() override {
    if constexpr (k_tls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

 private:
  const std::shared_ptr<asio::ssl::context> tls_;  // keeps it while stream_ lives
  Stream stream_;
};

}  // namespace

std::unique_ptr<Channel> make_channel(tcp::socket socket, std::shared_ptr<asio::ssl::context> tls) {
  if (tls == nullptr) return std::make_unique<StreamChannel<tcp::socket>>(std::move(socket), nullptr);
  TlsStream stream(std::move(socket), *tls);
  return std::make_unique<StreamChannel<TlsStream>>(std::move(stream), std::move(tls));
}

}  // namespace fieldgate::http
