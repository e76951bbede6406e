// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/connector.h"
#include "adapters/mqtt/link.h"
#include "gateway/ports/clock.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace fieldgate::mqtt {

// Drives one Link at a time from an io_context: connects, waits for readiness,
// keeps alive, and notices when the other side is gone: for good, or in silence
// for 1.5 x the keep-alive interval.
// Thread: the one that runs `io`.
class Client {
 public:
  // Called from within the io_context's handlers and from flush(), never from
  // within any other member of Client.
  class Events {
   public:
    virtual ~Events() = default;
    virtual void connected(const Connack& connack) = 0;
    virtual void acknowledged(int packet_id, std::uint8_t reason) = 0;
    virtual void received(const Incoming& message) = 0;
    // `reasons`: in order of the filters.
    virtual void subscribed(int packet_id, const std::vector<std::uint8_t>& reasons) = 0;
    // All that came with one readiness event has been told: publish more.
    virtual void settled() = 0;
    // The attempt failed, or the connection ended; what was in flight is unknown.
    virtual void disconnected(std::string why) = 0;
  };

  Client(boost::asio::io_context& io, const Clock& clock, Events& events);

  // Ends in connected() or disconnected(). Precondition: neither up nor connecting.
  void connect(ConnectPlan plan);
  // CONNACK has come, and the connection has not ended.
  bool up() const noexcept { return up_; }

  // Precondition for these: up(). They queue; flush() sends.
  Link::Published publish(const Message& message);
  // The packet id that subscribed() will name; 0: the connection is over.
  int subscribe(const std::vector<std::string>& filters);
  // May end in disconnected().
  void flush();

  // Of all connections so far that are over: Link::lost_bytes().
  std::uint64_t lost_bytes() const noexcept { return lost_bytes_; }

  // Says DISCONNECT, as far as the socket takes it at once, and closes.
  void farewell();
  // Closes without a word, and gives up an attempt that is under way.
  void close();

 private:
  void adopt(std::unique_ptr<Link> link);
  void wait_readable();
  void wait_writable();
  void wait_tick();
  void on_readable();
  bool dispatch();
  void fail(std::string why);

  boost::asio::io_context& io_;
  const Clock& clock_;
  Events& events_;
  Connector connector_;
  boost::asio::steady_timer deadline_;  // for CONNACK, from the start of the attempt
  boost::asio::steady_timer tick_;
  // On a dup() of the link's socket: the library closes its own descriptor when
  // it likes, which would pull it from under the reactor.
  boost::asio::posix::stream_descriptor descriptor_;
  std::unique_ptr<Link> link_;
  std::uint64_t lost_bytes_ = 0;
  std::uint64_t generation_ = 0;  // of the attempt or connection: a handler of an earlier one is stale
  bool up_ = false;
  bool waits_writable_ = false;
  std::size_t queued_ = 0;  // packets since the last flush
  Monotonic last_heard_;
  std::chrono::milliseconds silence_max_{0};
  std::string address_;
};

}  // namespace fieldgate::mqtt
