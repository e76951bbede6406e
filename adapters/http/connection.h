// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/service.h"

#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace boost::asio::ssl {
class context;
}

namespace fieldgate::http {

// A client's connection: reads one request after the other, has each answered,
// and writes the answers in their order.
// Thread: the server's loop.
// Bounds: one request at a time; ServerSettings says how large and how slow it
//         may be, and what is over is answered 408, 413 or 431.
class Connection {
 public:
  virtual ~Connection() = default;
  // Ends every wait at once; `ended` follows.
  virtual void close() = 0;
  // Since when it has waited for its client to send a whole request, to take an answer (of one
  // in pieces: a piece) or to go; nullopt: a request is at work, or an answer without an end.
  virtual std::optional<std::chrono::steady_clock::time_point> waiting_since() const = 0;
};

struct ConnectionOptions {
  std::shared_ptr<boost::asio::ssl::context> tls;  // nullptr: plain
  std::string refuse;                              // not empty: say 503 for that, and close
  std::string peer;                                // address:port
};

// Serves until the connection is over, then calls `ended`, once, from the loop.
// `service` outlives that.
std::shared_ptr<Connection> start_connection(boost::asio::ip::tcp::socket socket, ConnectionOptions options,
                                             Service& service, std::function<void()> ended);

}  // namespace fieldgate::http
