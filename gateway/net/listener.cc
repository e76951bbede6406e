// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/listener.h"

#include "gateway/core/address_book.h"
#include "gateway/net/shard.h"
#include "gateway/ports/log.h"

#include <boost/asio/ip/v6_only.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fieldgate::net {
namespace {

using boost::asio::ip::tcp;
constexpr int k_accepts_per_turn = 64;
constexpr int k_backlog = 4096;
constexpr std::uint32_t k_sheds_per_turn = 128;  // a millisecond or two
constexpr std::chrono::milliseconds k_budget_pause{10};
constexpr std::chrono::milliseconds k_descriptor_pause{500};
constexpr std::chrono::milliseconds k_pressure_pause{100};

Result<tcp::endpoint> resolve(const Endpoint& endpoint) {
  error_code ec;
  const auto address = boost::asio::ip::make_address(endpoint.address, ec);
  if (ec) {
    return make_error(Errc::invalid_argument,
                      "'" + endpoint.address + "' is not a numeric IPv4 or IPv6 address to listen on");
  }
  return tcp::endpoint(address, endpoint.port);
}

Error bind_error(const Endpoint& endpoint, const error_code& ec) {
  std::string text = "cannot listen on " + endpoint.address + ":" + std::to_string(endpoint.port) + ": " + ec.message();
  if (ec == boost::asio::error::address_in_use)
    text += "; another process has it: stop that one or change devices.listen";
  if (ec == boost::asio::error::access_denied) text += "; ports below 1024 need CAP_NET_BIND_SERVICE";
  return {ec, std::move(text)};
}

// RST instead of FIN: nothing of it is left behind on this machine.
void reset_socket(int fd) {
  const linger hard{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  ::close(fd);
}

// What the kernel made of the wish: net.core.somaxconn bounds it. On a listening socket Linux reports it here.
std::uint32_t backlog_of(int fd) {
  tcp_info state{};
  socklen_t length = sizeof(state);
  const bool told = ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) == 0 && state.tcpi_sacked > 0;
  return told ? state.tcpi_sacked : k_backlog;
}

}  // namespace

Result<void> check_unused(const Endpoint& endpoint) {
  auto where = resolve(endpoint);
  if (!where) return where.error();
  boost::asio::io_context io;
  tcp::acceptor probe(io);
  error_code ec;
  probe.open(where->protocol(), ec);
  if (!ec) probe.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) probe.bind(*where, ec);
  if (ec) return bind_error(endpoint, ec);
  return {};
}

Listener::Listener(Shard& shard)
    : shard_(shard),
      acceptor_(shard.io()),
      resume_(shard.io()),
      budget_(shard.now_ms(), 1.0),
      door_(
          shard.io(), shard.probe().handshakes, [this](int fd, const tcp::endpoint& device) { let_in(fd, device); },
          [this](int fd, const tcp::endpoint& peer, std::string_view why) { refuse_proxied(fd, peer, why); }) {}

Result<std::uint16_t> Listener::open(const Endpoint& endpoint) {
  auto where = resolve(endpoint);
  if (!where) return where.error();
  using ReusePort = boost::asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
  error_code ec;
  acceptor_.open(where->protocol(), ec);
  if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor_.set_option(ReusePort(true), ec);
  if (!ec && where->address().is_v6()) acceptor_.set_option(boost::asio::ip::v6_only(false), ec);
  if (!ec) acceptor_.non_blocking(true, ec);
  if (!ec) acceptor_.bind(*where, ec);
  if (!ec) acceptor_.listen(k_backlog, ec);
  if (ec) return bind_error(endpoint, ec);
  backlog_ = backlog_of(acceptor_.native_handle());
  return acceptor_.local_endpoint().port();
}

void Listener::start() {
  accepting_ = true;
  wait();
}

void Listener::close() {
  accepting_ = false;
  error_code ignored;
  acceptor_.close(ignored);
  resume_.cancel();
  paused_.reset();
  door_.close();
}

void Listener::wait() {
  acceptor_.async_wait(tcp::acceptor::wait_read, [this](error_code ec) {
    if (!ec && accepting_) accept_ready();
  });
}

std::optional<AcceptPause> Listener::pressure() const {
  const auto* const now = shard_.env().pressure;
  switch (now != nullptr ? now->load(std::memory_order_relaxed) : Pressure::none) {
    case Pressure::none: break;
    case Pressure::memory: return AcceptPause::memory;
    case Pressure::descriptors: return AcceptPause::descriptors;
  }
  return std::nullopt;
}

void Listener::accept_ready() {
  paused_.reset();
  if (const auto why = pressure()) {
    const bool all = shed(*why == AcceptPause::memory ? EndReason::memory : EndReason::descriptors, 0);
    return pause(*why, all ? k_pressure_pause : k_budget_pause);
  }
  const LimitSettings& limits = shard_.config().limits;
  const double rate = static_cast<double>(limits.handshakes_per_second) / shard_.config().shards;
  const double burst = std::max(1.0, rate / 20.0);  // 50 ms worth
  const auto at_once = std::max<std::uint32_t>(1, limits.handshakes_max / shard_.config().shards);
  for (int i = 0; i < k_accepts_per_turn; ++i) {
    if (shard_.probe().handshakes.get() >= at_once && !(anybody_waits() && displace())) {
      shed_overflow(EndReason::handshakes_max);
      return pause(AcceptPause::handshakes_max, k_budget_pause);
    }
    if (!budget_.take(shard_.now_ms(), 1.0, rate, burst)) {
      shed_overflow(EndReason::handshake_budget);
      return pause(AcceptPause::handshake_budget, k_budget_pause);
    }
    sockaddr_storage from{};
    socklen_t length = sizeof(from);
    const int fd =
        ::accept4(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return wait();
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        shard_.probe().ends[static_cast<std::size_t>(EndReason::descriptors)].add();
        shard_.env().log.error("accept_paused", {{"error", std::string_view(std::strerror(errno))},
                                                 {"hint", "raise LimitNOFILE or lower limits.sessions_max"}});
        return pause(AcceptPause::descriptors, k_descriptor_pause);
      }
      continue;  // that one connection failed before we got to it
    }
    shard_.probe().accepts.add();
    tcp::endpoint peer;
    std::memcpy(peer.data(), &from, std::min<std::size_t>(length, peer.capacity()));
    admit(fd, peer);
  }
  wait();
}

void Listener::admit(int fd, const tcp::endpoint& peer) {
  const SessionConfig& config = shard_.config();
  if (shard_.env().connections.fetch_add(1, std::memory_order_relaxed) >= config.limits.sessions_max) {
    return turn_away(fd, EndReason::sessions_max);
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (config.proxy_trusted.contains(peer.address())) {
    return door_.take(fd, peer, config.session.deadlines.tls);
  }
  let_in(fd, peer);
}

void Listener::let_in(int fd, const tcp::endpoint& device) {
  if (!shard_.env().addresses.enter(device.address(), shard_.config().limits.sessions_per_address_max)) {
    return turn_away(fd, EndReason::address_sessions_max);
  }
  shard_.adopt(fd, device);
}

void Listener::turn_away(int fd, EndReason reason) {
  shard_.env().connections.fetch_sub(1, std::memory_order_relaxed);
  reset(fd, reason);
}

void Listener::refuse_proxied(int fd, const tcp::endpoint& peer, std::string_view why) {
  shard_.env().log.warn(
      "proxied_connection_refused",
      {{"balancer", peer.address().to_string()},
       {"why", why},
       {"hint", "devices.proxy_trusted names the balancers that send PROXY protocol version 2, and no others"}});
  turn_away(fd, EndReason::proxy_protocol);
}

void Listener::reset(int fd, EndReason reason) {
  shard_.probe().ends[static_cast<std::size_t>(reason)].add();
  reset_socket(fd);
}

std::uint32_t Listener::queue_kept(std::uint32_t handshakes_per_second, std::uint32_t shards,
                                   std::uint32_t backlog) noexcept {
  const std::uint32_t budget = std::max<std::uint32_t>(16, handshakes_per_second * k_queue_seconds / shards);
  return std::min(budget, backlog - backlog / 4);
}

bool Listener::anybody_waits() {
  pollfd state{acceptor_.native_handle(), POLLIN, 0};
  return ::poll(&state, 1, 0) == 1;
}

bool Listener::displace() { return shard_.displace_staller() || door_.displace(); }

void Listener::shed_overflow(EndReason reason) {
  shed(reason, queue_kept(shard_.config().limits.handshakes_per_second, shard_.config().shards, backlog_));
}

bool Listener::shed(EndReason reason, std::uint32_t keep) {
  // On a listening socket Linux reports the accept queue's length here.
  tcp_info state{};
  socklen_t length = sizeof(state);
  if (::getsockopt(acceptor_.native_handle(), IPPROTO_TCP, TCP_INFO, &state, &length) != 0) return true;
  std::uint32_t over = state.tcpi_unacked - std::min(state.tcpi_unacked, keep);
  for (std::uint32_t turn = std::min(over, k_sheds_per_turn); turn > 0; --turn, --over) {
    const int fd = ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return true;
    shard_.probe().accepts.add();
    reset(fd, reason);
  }
  return over == 0;
}

void Listener::pause(AcceptPause why, std::chrono::milliseconds delay) {
  paused_ = GaugeHold(shard_.probe().accept_paused[static_cast<std::size_t>(why)]);
  resume_.expires_after(delay);
  resume_.async_wait([this](error_code ec) {
    if (!ec && accepting_) accept_ready();
  });
}

}  // namespace fieldgate::net
