// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <memory>

namespace boost::asio::ssl {
class context;
}

namespace fieldgate::http {

// The bytes of one connection, plain or within TLS.
// Thread: its executor's. One read and one write may be under way at a time.
class Channel {
 public:
  virtual ~Channel() = default;
  // Nothing on a plain one.
  virtual boost::asio::awaitable<error_code> handshake() = 0;
  // Waits for some bytes; 0: the end, or an error, which is then in `ec`.
  virtual boost::asio::awaitable<std::size_t> read_some(boost::asio::mutable_buffer into, error_code& ec) = 0;
  virtual boost::asio::awaitable<error_code> write(boost::asio::const_buffer bytes) = 0;
  // Says that nothing more comes from here.
  virtual boost::asio::awaitable<void> end() = 0;
  virtual boost::asio::ip::tcp::socket& socket() = 0;
};

// `tls`: nullptr for a plain one.
std::unique_ptr<Channel> make_channel(boost::asio::ip::tcp::socket socket,
                                      std::shared_ptr<boost::asio::ssl::context> tls);

}  // namespace fieldgate::http
