// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/connection.h"

#include "tests/sim/tokens.h"

#include <openssl/err.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fieldgate::sim {
namespace {

constexpr std::size_t k_slow_read_bytes = 512;
constexpr int k_slow_receive_buffer = 2'048;
constexpr std::size_t k_record_bytes_max = 16'384;
constexpr std::string_view k_path = "/v1/connect";
constexpr std::string_view k_subprotocol = "fieldgate.v1";

void set_option(int fd, int level, int option, int value) noexcept {
  ::setsockopt(fd, level, option, &value, sizeof value);
}

}  // namespace

Connection::Connection(IoContext& io, std::uint32_t index) : io_(io), device_(io.devices, index, *this) {
  tls_side_.owner = this;
  tls_side_.name = [](const void* self) {
    const auto& connection = *static_cast<const Connection*>(self);
    return device_id(connection.io_.devices.settings, connection.device_.index());
  };
}

Connection::~Connection() { tear_down(); }

// ------------------------------------------------------------ what the worker calls

void Connection::on_events(std::uint32_t events) {
  if (stage_ == Stage::tcp) {
    connected();
  } else {
    if ((events & EPOLLOUT) != 0) {
      flush();
      if (stage_ == Stage::open && pending_.empty()) device_.on_writable(io_.now);
    }
    if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0 && !loss_) readable();
  }
  settle();
}

void Connection::wake() {
  if (io_.now.mono_us >= deadline_us_) {
    if (stage_ == Stage::open)
      ended(Loss::close_timeout);
    else
      lose(Loss::connect_timeout);
  } else if (io_.now.mono_us >= read_us_) {
    read_us_ = io_.now.mono_us + io_.slow_read_every_us;
    readable();
  }
  if (!loss_) device_.wake(io_.now);
  settle();
}

bool Connection::admit() {
  const bool admitted = device_.admit(io_.now);
  settle();
  return admitted;
}

std::int64_t Connection::next_wake_us() const noexcept {
  if (loss_) return io_.now.mono_us;
  return std::min({deadline_us_, read_us_, device_.next_wake_us()});
}

void Connection::finish() {
  device_.finish(io_.now);
  settle();
}

void Connection::abandon() {
  device_.abandon(io_.now);
  settle();
}

// ------------------------------------------------------------ what the device calls

void Connection::connect() {
  deadline_us_ = io_.now.mono_us + io_.devices.settings.connect_timeout_us;
  if (open_socket()) stage_ = Stage::tcp;
}

void Connection::send(std::string_view message) {
  ws_append_frame(io_.out, WsOpcode::binary, message, mask());
  if (io_.out.size() >= k_record_bytes_max) flush();
}

void Connection::ping() { ws_append_frame(io_.out, WsOpcode::ping, {}, mask()); }

void Connection::close(std::uint16_t code) {
  ws_append_close(io_.out, code, mask());
  close_sent_ = closed_first_by_us_ = true;
  deadline_us_ = io_.now.mono_us + io_.close_timeout_us;
}

void Connection::drop(bool by_reset) {
  io_.out.clear();
  if (by_reset && tls_side_.fd >= 0) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(tls_side_.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  tear_down();
}

// ------------------------------------------------------------ opening

bool Connection::open_socket() {
  const GatewayAddress& gateway = io_.gateway;
  const int fd = ::socket(gateway.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    lose(errno == EMFILE || errno == ENFILE ? Loss::no_descriptor : Loss::connect_failed);
    return false;
  }
  tls_side_.fd = fd;
  ++generation_;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (slow_reader()) set_option(fd, SOL_SOCKET, SO_RCVBUF, k_slow_receive_buffer);
  if (gateway.source_addresses > 1) {
    set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (device_.index() + generation_) % gateway.source_addresses);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) {
      lose(Loss::connect_failed);
      return false;
    }
  }
  const int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&gateway.address), gateway.address_bytes);
  if (result != 0 && errno != EINPROGRESS) {
    lose(errno == ECONNREFUSED ? Loss::connect_refused : Loss::connect_failed);
    return false;
  }
  epoll_event event{};
  event.events = watched_ = EPOLLOUT;
  event.data.u64 = (std::uint64_t{generation_} << 32) | device_.index();
  if (::epoll_ctl(io_.epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    lose(Loss::connect_failed);
    return false;
  }
  return true;
}

void Connection::connected() {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(tls_side_.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    lose(error == ECONNREFUSED ? Loss::connect_refused : error == ECONNRESET ? Loss::reset : Loss::connect_failed);
    return;
  }
  watch(EPOLLIN);
  if (io_.tls == nullptr) {
    start_upgrade();
    return;
  }
  stage_ = Stage::tls;
  ssl_ = io_.tls->begin(tls_side_);
  handshake();
}

void Connection::handshake() {
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    if (SSL_session_reused(ssl_.get()) == 1) ++io_.devices.stats.tls_resumed;
    TlsClient::established(ssl_.get());
    start_upgrade();
    return;
  }
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ) return watch(EPOLLIN);
  if (error == SSL_ERROR_WANT_WRITE) return watch(EPOLLIN | EPOLLOUT);
  lose(error == SSL_ERROR_SYSCALL ? Loss::reset : Loss::tls_failed);
  ERR_clear_error();
}

void Connection::start_upgrade() {
  stage_ = Stage::upgrade;
  upgrade_ = std::make_unique<Upgrade>();
  for (std::size_t i = 0; i < upgrade_->key.size(); i += 8) {
    const std::uint64_t word = io_.devices.rng.next();
    std::memcpy(upgrade_->key.data() + i, &word, sizeof word);
  }
  const std::string token = io_.token_seed.empty()
                                ? std::string()
                                : device_token(io_.token_seed, device_id(io_.devices.settings, device_.index()));
  io_.out.append(ws_upgrade_request({io_.gateway.host_header, k_path, k_subprotocol, token}, upgrade_->key));
}

// ------------------------------------------------------------ reading

void Connection::readable() {
  if (tls_side_.fd < 0) return;
  const bool slow = slow_reader() && stage_ == Stage::open;
  while (!loss_ && tls_side_.fd >= 0) {
    const std::size_t most = slow ? k_slow_read_bytes : io_.ciphertext.size();
    const ssize_t got = ::recv(tls_side_.fd, io_.ciphertext.data(), most, 0);
    if (got == 0) return ended(Loss::unclean_end);
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) ended(errno == ECONNRESET ? Loss::reset : Loss::unclean_end);
      return;
    }
    const std::string_view bytes(io_.ciphertext.data(), static_cast<std::size_t>(got));
    if (io_.tls == nullptr) {
      take(bytes);
    } else {
      tls_side_.in = bytes;
      if (stage_ == Stage::tls) handshake();
      if (stage_ != Stage::tls && !loss_) decrypt();
    }
    if (slow || bytes.size() < most) return;
  }
}

void Connection::decrypt() {
  while (!loss_ && ssl_) {
    const int got = SSL_read(ssl_.get(), io_.plaintext.data(), static_cast<int>(io_.plaintext.size()));
    if (got > 0) {
      take({io_.plaintext.data(), static_cast<std::size_t>(got)});
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), got);
    if (error == SSL_ERROR_WANT_READ) return;
    ended(error == SSL_ERROR_ZERO_RETURN ? Loss::unclean_end : Loss::tls_failed);
    ERR_clear_error();
  }
}

void Connection::take(std::string_view bytes) {
  if (stage_ == Stage::upgrade) {
    upgrade_->answer.append(bytes);
    return take_answer();
  }
  const WsFault fault = decoder_.feed(bytes, io_.devices.settings.receive_max_bytes, *this);
  if (fault == WsFault::none) return;
  ++io_.devices.stats.violations["websocket_" + std::string(to_string(fault))];
  lose(Loss::websocket_fault);
}

void Connection::take_answer() {
  const WsAnswer answer = ws_read_answer(upgrade_->answer, upgrade_->key, k_subprotocol);
  switch (answer.state) {
    case WsAnswer::State::incomplete: return;
    case WsAnswer::State::refused:
      ++io_.devices.stats.http_statuses[answer.http_status];
      return lose(Loss::upgrade_refused);
    case WsAnswer::State::malformed:
      ++io_.devices.stats.violations["upgrade_" + std::string(answer.fault)];
      return lose(Loss::upgrade_malformed);
    case WsAnswer::State::accepted: break;
  }
  const std::string rest = upgrade_->answer.substr(answer.consumed);
  upgrade_.reset();
  stage_ = Stage::open;
  deadline_us_ = k_never_us;
  if (slow_reader()) {
    read_us_ = io_.now.mono_us;
    watch(0);
  }
  device_.on_open(io_.now);
  if (!rest.empty()) take(rest);
}

bool Connection::on_ws_frame(WsOpcode opcode, std::string_view payload) {
  device_.on_heard(io_.now);
  switch (opcode) {
    case WsOpcode::binary: device_.on_message(payload, io_.now); break;
    case WsOpcode::ping:
      if (close_sent_) break;
      ws_append_frame(io_.out, WsOpcode::pong, payload, mask());
      ++io_.devices.stats.pings_answered;
      break;
    case WsOpcode::close: {
      const unsigned code =
          payload.size() < 2 ? 1005U
                             : (static_cast<unsigned char>(payload[0]) << 8U) | static_cast<unsigned char>(payload[1]);
      ++io_.devices.stats.close_codes[code];
      close_received_ = true;
      deadline_us_ = io_.now.mono_us + io_.close_timeout_us;
      if (!close_sent_) ws_append_close(io_.out, code == 1005 ? 1000 : static_cast<std::uint16_t>(code), mask());
      close_sent_ = true;
      flush();
      if (ssl_ && !loss_) SSL_shutdown(ssl_.get());
      if (pending_.empty()) ::shutdown(tls_side_.fd, SHUT_WR);
      return false;
    }
    case WsOpcode::text:
      ++io_.devices.stats.violations["text_message"];
      lose(Loss::websocket_fault);
      break;
    default: break;
  }
  return !loss_ && tls_side_.fd >= 0;
}

void Connection::ended(Loss if_unexpected) {
  if (close_received_)
    lose(closed_first_by_us_ ? Loss::closed_by_device : Loss::closed_by_gateway);
  else
    lose(if_unexpected);
}

// ------------------------------------------------------------ writing

std::size_t Connection::write_some(std::string_view bytes) {
  if (ssl_) {
    const int sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min(bytes.size(), k_record_bytes_max)));
    if (sent > 0) return static_cast<std::size_t>(sent);
    if (SSL_get_error(ssl_.get(), sent) != SSL_ERROR_WANT_WRITE) {
      ended(Loss::reset);
      ERR_clear_error();
    }
    return 0;
  }
  const ssize_t sent = ::send(tls_side_.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno != EAGAIN && errno != EINTR) ended(Loss::reset);
  return 0;
}

void Connection::flush() {
  if (tls_side_.fd < 0 || stage_ == Stage::tcp || stage_ == Stage::tls) {
    if (stage_ == Stage::tls && ssl_) handshake();
    return;
  }
  const bool waiting = !pending_.empty();
  if (waiting) pending_.append(io_.out);
  std::string_view left = waiting ? std::string_view(pending_) : std::string_view(io_.out);
  while (!left.empty() && !loss_) {
    const std::size_t sent = write_some(left);
    if (sent == 0) break;
    left.remove_prefix(sent);
  }
  std::string keep(left);
  io_.out.clear();
  pending_.swap(keep);
  const std::uint32_t reading = slow_reader() && stage_ == Stage::open ? 0U : static_cast<std::uint32_t>(EPOLLIN);
  if (!loss_) watch(pending_.empty() ? reading : reading | EPOLLOUT);
}

void Connection::watch(std::uint32_t events) {
  if (events == watched_) return;
  watched_ = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = (std::uint64_t{generation_} << 32) | device_.index();
  ::epoll_ctl(io_.epoll, EPOLL_CTL_MOD, tls_side_.fd, &event);
}

// ------------------------------------------------------------ ending

void Connection::settle() {
  if (!io_.out.empty() && !loss_) flush();
  io_.out.clear();
  if (!loss_) return;
  const Loss loss = *loss_;
  tear_down();
  device_.on_lost(loss, io_.now);
}

void Connection::tear_down() noexcept {
  if (ssl_) {
    // Without this OpenSSL would mark the session of an unclean end as not to be
    // resumed; a device that lost its link does not know that.
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ssl_.reset();
  }
  if (tls_side_.fd >= 0) ::close(tls_side_.fd);
  tls_side_.fd = -1;
  tls_side_.in = {};
  stage_ = Stage::none;
  close_sent_ = close_received_ = closed_first_by_us_ = false;
  loss_.reset();
  watched_ = 0;
  deadline_us_ = read_us_ = k_never_us;
  upgrade_.reset();
  decoder_.reset();
  pending_ = std::string();
}

}  // namespace fieldgate::sim
