// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/traffic/link.h"

#include "tests/sim/tokens.h"

#include <openssl/err.h>

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace fieldgate::bench {
namespace {

constexpr std::size_t k_message_bytes_max = 1'000'000;
constexpr std::size_t k_record_bytes_max = 16'384;

void set_option(int fd, int level, int option, int value) noexcept {
  ::setsockopt(fd, level, option, &value, sizeof value);
}

}  // namespace

std::string LinkContext::device_id(std::uint32_t index) const {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%06u", static_cast<unsigned>(index));
  return id_prefix + digits;
}

// Hands frames on, and stops the decoder when the link is gone meanwhile.
struct Link::Sink final : sim::WsFrameSink {
  explicit Sink(Link& link) : link_(link), generation_(link.generation_) {}
  bool on_ws_frame(sim::WsOpcode opcode, std::string_view payload) override {
    if (opcode == sim::WsOpcode::ping) {
      link_.send(sim::WsOpcode::pong, payload);
    } else {
      link_.context_.owner->on_frame(link_, opcode, payload);
      if (opcode == sim::WsOpcode::close) link_.lost_ = true;
    }
    return !link_.lost_ && link_.open() && link_.generation_ == generation_;
  }

  Link& link_;
  const std::uint32_t generation_;
};

Link::Link(LinkContext& context, std::uint32_t index) : context_(context), index_(index) {
  side_.owner = this;
  side_.name = [](const void* self) {
    const auto& link = *static_cast<const Link*>(self);
    return link.context_.device_id(link.index_);
  };
}

// ------------------------------------------------------------ opening

void Link::connect() {
  lost_ = deaf_ = corked_ = false;
  if (open_socket())
    stage_ = Stage::tcp;
  else
    lost_ = true;
  if (lost_) settle();
}

bool Link::open_socket() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  side_.fd = fd;
  ++generation_;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  sockaddr_in source{};
  source.sin_family = AF_INET;
  const unsigned turn = context_.first_source + (index_ + generation_) % context_.source_addresses;
  source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + turn);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) return false;
  const int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&context_.server), sizeof context_.server);
  if (result != 0 && errno != EINPROGRESS) return false;
  epoll_event event{};
  event.events = watched_ = EPOLLOUT;
  event.data.u64 = (std::uint64_t{generation_} << 32) | index_;
  return ::epoll_ctl(context_.epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Link::connected() {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(side_.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    lost_ = true;
    return;
  }
  watch(EPOLLIN);
  if (context_.depth == Depth::tcp) {
    stage_ = Stage::open;
    context_.owner->on_open(*this);
    return;
  }
  stage_ = Stage::tls;
  ssl_ = context_.tls->begin(side_);
  handshake();
}

void Link::handshake() {
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    sim::TlsClient::established(ssl_.get());
    stage_ = Stage::upgrade;
    if (context_.owner->on_secured(*this)) start_upgrade();
    return;
  }
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ) return watch(EPOLLIN);
  if (error == SSL_ERROR_WANT_WRITE) return watch(EPOLLIN | EPOLLOUT);
  lost_ = true;
  ERR_clear_error();
}

void Link::start_upgrade() {
  upgrade_ = std::make_unique<Upgrade>();
  for (std::size_t i = 0; i < upgrade_->key.size(); i += 8) {
    const std::uint64_t word = context_.rng.next();
    std::memcpy(upgrade_->key.data() + i, &word, sizeof word);
  }
  const std::string token =
      context_.token_seed.empty() ? std::string() : sim::device_token(context_.token_seed, context_.device_id(index_));
  send_bytes(
      sim::ws_upgrade_request({context_.host_header, context_.path, context_.subprotocol, token}, upgrade_->key));
}

// ------------------------------------------------------------ reading

void Link::on_events(std::uint32_t events) {
  if (stage_ == Stage::tcp) {
    connected();
  } else {
    if ((events & EPOLLOUT) != 0) {
      if (stage_ == Stage::tls)
        handshake();
      else
        flush();
    }
    if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0 && !lost_) readable();
  }
  settle();
}

void Link::readable() {
  const std::uint32_t generation = generation_;
  while (!lost_ && side_.fd >= 0 && generation_ == generation) {
    const ssize_t got = ::recv(side_.fd, context_.ciphertext.data(), context_.ciphertext.size(), 0);
    if (got == 0) lost_ = true;
    if (got < 0 && errno != EAGAIN && errno != EINTR) lost_ = true;
    if (got <= 0) return;
    const std::string_view bytes(context_.ciphertext.data(), static_cast<std::size_t>(got));
    if (!ssl_) continue;  // TCP alone: nobody listens
    side_.in = bytes;
    if (stage_ == Stage::tls) handshake();
    if (stage_ != Stage::tls && !lost_) decrypt();
    if (bytes.size() < context_.ciphertext.size()) return;
  }
}

void Link::decrypt() {
  while (!lost_ && ssl_) {
    const int got = SSL_read(ssl_.get(), context_.plaintext.data(), static_cast<int>(context_.plaintext.size()));
    if (got > 0) {
      take({context_.plaintext.data(), static_cast<std::size_t>(got)});
      continue;
    }
    if (SSL_get_error(ssl_.get(), got) == SSL_ERROR_WANT_READ) return;
    lost_ = true;
    ERR_clear_error();
  }
}

void Link::take(std::string_view bytes) {
  if (stage_ == Stage::upgrade) {
    if (!upgrade_) return;
    upgrade_->answer.append(bytes);
    return take_answer();
  }
  Sink sink(*this);
  if (decoder_.feed(bytes, k_message_bytes_max, sink) != sim::WsFault::none) lost_ = true;
}

void Link::take_answer() {
  const sim::WsAnswer answer = sim::ws_read_answer(upgrade_->answer, upgrade_->key, context_.subprotocol);
  if (answer.state == sim::WsAnswer::State::incomplete) return;
  if (answer.state != sim::WsAnswer::State::accepted) {
    lost_ = true;
    return;
  }
  const std::string rest = upgrade_->answer.substr(answer.consumed);
  upgrade_.reset();
  stage_ = Stage::open;
  context_.owner->on_open(*this);
  if (!rest.empty() && open()) take(rest);
}

void Link::stop_reading() {
  deaf_ = true;
  watch(pending_.empty() ? 0U : static_cast<std::uint32_t>(EPOLLOUT));
}

// ------------------------------------------------------------ writing

void Link::send(sim::WsOpcode opcode, std::string_view payload) {
  const auto mask = static_cast<std::uint32_t>(context_.rng.next());
  if (corked_ || congested()) return sim::ws_append_frame(pending_, opcode, payload, mask);
  context_.out.clear();
  sim::ws_append_frame(context_.out, opcode, payload, mask);
  send_bytes(context_.out);
}

void Link::send_bytes(std::string_view bytes) {
  if (side_.fd < 0 || lost_) return;
  if (congested()) {
    pending_.append(bytes);
    return;
  }
  while (!bytes.empty() && !lost_) {
    const std::size_t sent = write_some(bytes);
    if (sent == 0) break;
    bytes.remove_prefix(sent);
  }
  if (bytes.empty() || lost_) return;
  pending_.assign(bytes);
  watch((deaf_ ? 0U : static_cast<std::uint32_t>(EPOLLIN)) | EPOLLOUT);
}

void Link::uncork() {
  corked_ = false;
  flush();
}

void Link::flush() {
  if (pending_.empty() || side_.fd < 0) return;
  const std::string bytes = std::exchange(pending_, std::string());
  send_bytes(bytes);
  if (pending_.empty() && !lost_) watch(deaf_ ? 0U : static_cast<std::uint32_t>(EPOLLIN));
}

std::size_t Link::write_some(std::string_view bytes) {
  if (ssl_) {
    const int sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min(bytes.size(), k_record_bytes_max)));
    if (sent > 0) return static_cast<std::size_t>(sent);
    if (SSL_get_error(ssl_.get(), sent) != SSL_ERROR_WANT_WRITE) {
      lost_ = true;
      ERR_clear_error();
    }
    return 0;
  }
  const ssize_t sent = ::send(side_.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno != EAGAIN && errno != EINTR) lost_ = true;
  return 0;
}

void Link::watch(std::uint32_t events) {
  if (events == watched_) return;
  watched_ = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = (std::uint64_t{generation_} << 32) | index_;
  ::epoll_ctl(context_.epoll, EPOLL_CTL_MOD, side_.fd, &event);
}

// ------------------------------------------------------------ ending

void Link::settle() {
  if (!lost_) return;
  tear_down();
  context_.owner->on_lost(*this);
}

void Link::cut(bool by_reset) {
  if (by_reset && side_.fd >= 0) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(side_.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  tear_down();
}

void Link::tear_down() noexcept {
  if (ssl_) {
    // Else OpenSSL would not let the session be resumed.
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ssl_.reset();
  }
  if (side_.fd >= 0) ::close(side_.fd);
  side_.fd = -1;
  side_.in = {};
  stage_ = Stage::none;
  lost_ = false;
  watched_ = 0;
  upgrade_.reset();
  decoder_.reset();
  pending_ = std::string();
}

}  // namespace fieldgate::bench
