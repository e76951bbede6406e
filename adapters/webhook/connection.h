// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/webhook/answer.h"
#include "gateway/core/error.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::webhook {

// One HTTP/1.1 connection to a target (RFC 9112), with at most one request on it.
// It reads at all times, so that a peer that hangs up, or speaks unasked, is
// noticed while it is idle.
// Thread: the lane's. Callbacks come from the loop, never from within a call.
// Bounds: 16 KiB of an answer's head (interim answers each); 64 KiB of its body:
// one that is larger counts by its status, and the connection ends.
class Connection {
 public:
  struct Peer {
    std::vector<boost::asio::ip::tcp::endpoint> endpoints;  // tried in this order
    std::shared_ptr<boost::asio::ssl::context> tls;         // nullptr: plain
    std::string host;                                       // whom its certificate must be for
  };
  // Connected, TLS included. Errors: Errc::unavailable, Errc::timed_out; then the
  // connection is of no more use.
  using Opened = std::function<void(Result<void>)>;
  // Errors: Errc::closed: the peer hung up before it answered anything;
  // Errc::timed_out; Errc::malformed: what came is not a whole HTTP answer. The
  // connection is closed then.
  using Concluded = std::function<void(Result<Answer>)>;
  using Body = std::shared_ptr<const std::string>;

  // `responses` counts answers by status class, interim ones too; it outlives this.
  static std::shared_ptr<Connection> make(boost::asio::io_context& io, std::array<Cell, 5>& responses);
  virtual ~Connection() = default;

  // Once, first. `patience` is for all of it.
  virtual void open(Peer peer, std::chrono::milliseconds patience, Opened opened) = 0;
  // Precondition: usable().
  virtual void exchange(std::string head, Body body, std::chrono::milliseconds patience, Concluded concluded) = 0;
  // Open, with no request under way and nothing heard since.
  virtual bool usable() const noexcept = 0;
  // Nothing is called back any more.
  virtual void close() noexcept = 0;
};

}  // namespace fieldgate::webhook
