// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/client.h"

#include "adapters/mqtt/reasons.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace fieldgate::mqtt {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_tick{500};

void set_tcp_option(int fd, int option, int value) noexcept {
  // Best effort: these make it faster, not more right.
  ::setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value);
}

}  // namespace

Client::Client(boost::asio::io_context& io, const Clock& clock, Events& events)
    : io_(io),
      clock_(clock),
      events_(events),
      connector_([this](std::uint64_t attempt, std::shared_ptr<Connector::Opened> opened) {
        boost::asio::post(io_, [this, attempt, opened = std::move(opened)] {
          if (!connector_.finish(attempt)) return;
          if (*opened) {
            adopt(std::move(**opened));
          } else {
            fail(opened->error().detail);
          }
        });
      }),
      deadline_(io),
      tick_(io),
      descriptor_(io) {}

void Client::connect(ConnectPlan plan) {
  const MqttLaneSettings& settings = plan.settings;
  address_ = settings.host + ":" + std::to_string(settings.port);
  // The library pings after keep_alive of silence; a little less than 1.5 times
  // that, so that the tick that notices is not late.
  silence_max_ = std::max(milliseconds(settings.keep_alive) * 3 / 2, milliseconds(7'500)) - 2 * k_tick;
  const auto patience = settings.connect_timeout;
  ++generation_;
  deadline_.expires_after(patience);
  deadline_.async_wait([this, patience, now = generation_](error_code error) {
    if (error || now != generation_ || up_) return;
    fail("no answer from " + address_ + " within " + std::to_string(patience.count()) + " s");
  });
  // Where it cannot start, for too many helpers are stuck, the deadline reports
  // the failure and so paces the next attempt.
  connector_.start(std::move(plan));
}

void Client::adopt(std::unique_ptr<Link> link) {
  const int fd = link->socket();
  // A connection that broke at once shows here; the library would go on, and
  // with TLS spin on a socket that is always ready.
  int broken = 0;
  socklen_t size = sizeof broken;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &broken, &size) != 0) broken = errno;
  if (broken != 0) return fail("connecting to " + address_ + ": " + std::strerror(broken));
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail(std::string("out of file descriptors: ") + std::strerror(errno));
  descriptor_.assign(copy);
  link_ = std::move(link);
  queued_ = 1;  // CONNECT
  last_heard_ = clock_.now();
  wait_readable();
  wait_tick();
  flush();
}

void Client::wait_readable() {
  descriptor_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this, now = generation_](error_code error) {
    if (now != generation_ || error == boost::asio::error::operation_aborted) return;
    if (error) return fail("waiting for " + address_ + ": " + error.message());
    on_readable();
  });
}

void Client::wait_writable() {
  if (waits_writable_ || !link_->wants_write()) return;
  waits_writable_ = true;
  descriptor_.async_wait(boost::asio::posix::descriptor_base::wait_write, [this, now = generation_](error_code error) {
    if (now != generation_ || error == boost::asio::error::operation_aborted) return;
    waits_writable_ = false;
    if (error) return fail("waiting for " + address_ + ": " + error.message());
    flush();
  });
}

void Client::wait_tick() {
  tick_.expires_after(k_tick);
  tick_.async_wait([this, now = generation_](error_code error) {
    if (error || now != generation_) return;
    if (clock_.now() - last_heard_ > silence_max_) {
      return fail("nothing heard from " + address_ + " for 1.5 x keep_alive: taken for dead");
    }
    if (!link_->tick()) return fail(link_->error());
    wait_tick();
    flush();  // tick() may have queued a ping
  });
}

void Client::on_readable() {
  last_heard_ = clock_.now();
  const bool alive = link_->read();
  // Delayed acknowledgements of ours would hold the broker's next ones back; the
  // kernel forgets this option by itself, so it is set anew each time.
  set_tcp_option(descriptor_.native_handle(), TCP_QUICKACK, 1);
  const auto generation = generation_;
  if (!dispatch() || generation != generation_) return;
  if (!alive) return fail(link_->error());
  if (up_) events_.settled();
  if (generation != generation_) return;
  wait_readable();
  flush();  // the TLS handshake, and acknowledgements of ours, go on here
}

// Tells the events what the link has collected. False: the connection is over.
bool Client::dispatch() {
  if (link_->connack) {
    const Connack connack = *link_->connack;
    link_->connack.reset();
    if (connack.reason >= 0x80) {
      fail(address_ + " refused the connection: " + describe_refusal(connack.reason));
      return false;
    }
    if (connack.qos_max < 1) {
      fail(address_ + " takes no QoS 1 messages: this lane cannot use it");
      return false;
    }
    if (!up_) {
      up_ = true;
      deadline_.cancel();
      events_.connected(connack);
    }
  }
  const auto generation = generation_;
  const auto pubacks = std::exchange(link_->pubacks, {});
  for (const Link::Puback& puback : pubacks) events_.acknowledged(puback.packet_id, puback.reason);
  const auto subacks = std::exchange(link_->subacks, {});
  for (const Link::Suback& suback : subacks) events_.subscribed(suback.packet_id, suback.reasons);
  const auto incoming = std::exchange(link_->incoming, {});
  for (const Incoming& message : incoming) events_.received(message);
  return generation == generation_;
}

Link::Published Client::publish(const Message& message) {
  const auto published = link_->publish(message);
  if (published.outcome == Link::Published::Outcome::sent) ++queued_;
  return published;
}

int Client::subscribe(const std::vector<std::string>& filters) {
  ++queued_;
  return link_->subscribe(filters);  // what ends the connection here shows in flush()
}

void Client::flush() {
  if (!link_) return;
  // The library writes packet by packet: corked, a burst shares its segments.
  const bool cork = queued_ > 1;
  queued_ = 0;
  const int fd = descriptor_.native_handle();
  if (cork) set_tcp_option(fd, TCP_CORK, 1);
  const bool alive = link_->write();
  if (cork) set_tcp_option(fd, TCP_CORK, 0);
  if (!alive) return fail(link_->error());
  wait_writable();
}

void Client::farewell() {
  if (link_) {
    link_->disconnect();
    link_->write();
  }
  close();
}

void Client::close() {
  ++generation_;
  up_ = false;
  waits_writable_ = false;
  deadline_.cancel();
  tick_.cancel();
  connector_.abandon();
  if (link_) lost_bytes_ += link_->lost_bytes();
  link_.reset();
  error_code ignored;
  descriptor_.close(ignored);
}

// By value: `why` may be the link's own, which close() destroys.
void Client::fail(std::string why) {
  close();
  events_.disconnected(std::move(why));
}

}  // namespace fieldgate::mqtt
