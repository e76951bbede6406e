// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/device.h"

#include "tests/sim/tokens.h"

#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <stdexcept>

namespace fieldgate::bench {
namespace {

constexpr int k_patience_ms = 120'000;
constexpr std::uint32_t k_heartbeat_seconds = 600;

std::string name_of(const Fleet& fleet, std::uint32_t index) {
  std::array<char, 16> digits{};
  std::snprintf(digits.data(), digits.size(), "%06u", fleet.first_index + index);
  return fleet.id_prefix + digits.data();
}

std::array<char, 65'536>& scratch() {
  static std::array<char, 65'536> bytes;
  return bytes;
}

}  // namespace

Device::Device(Fleet& fleet, std::uint32_t index)
    : fleet_(fleet), id_(name_of(fleet, index)), stream_(fleet.rng.next() | 1), index_(index) {
  side_.owner = this;
  side_.name = [](const void* self) { return static_cast<const Device*>(self)->id_; };
  for (unsigned char& byte : key_) byte = static_cast<unsigned char>(fleet.rng.next());
}

Device::~Device() {
  if (side_.fd >= 0) ::close(side_.fd);
}

void Device::fail(const std::string& what) const { throw std::runtime_error(id_ + ": " + what); }

void Device::connect(SSL_SESSION* ticket) {
  side_.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (side_.fd < 0) fail("no socket");
  const int on = 1;
  ::setsockopt(side_.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (fleet_.source_addresses > 1 || fleet_.first_source > 1) {
    ::setsockopt(side_.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr =
        htonl((INADDR_LOOPBACK & 0xFF000000) + fleet_.first_source + index_ % fleet_.source_addresses);
    if (::bind(side_.fd, reinterpret_cast<const sockaddr*>(&source), sizeof(source)) != 0) fail("cannot bind");
  }
  if (::connect(side_.fd, reinterpret_cast<const sockaddr*>(&fleet_.server), sizeof(fleet_.server)) != 0) {
    fail("cannot connect");
  }
  // A session that has been used is used up, for OpenSSL: each gets a copy.
  if (ticket != nullptr) side_.session.reset(SSL_SESSION_dup(ticket));
  ssl_ = fleet_.tls->begin(side_);
  SSL_do_handshake(ssl_.get());
}

void Device::finish_tls() {
  while (!SSL_is_init_finished(ssl_.get())) receive(true);
}

void Device::finish_upgrade() {
  while (phase_ == Phase::upgrade) receive(true);
}

void Device::finish_hello() {
  while (phase_ != Phase::live) receive(true);
}

void Device::readable() { receive(false); }

void Device::receive(bool wait) {
  if (wait) {
    pollfd ready{side_.fd, POLLIN, 0};
    if (::poll(&ready, 1, k_patience_ms) != 1) fail("nothing came");
  }
  const ssize_t n = ::recv(side_.fd, scratch().data(), scratch().size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) fail("the server ended the connection");
  side_.in = {scratch().data(), static_cast<std::size_t>(n)};
  if (phase_ == Phase::tls) {
    if (SSL_do_handshake(ssl_.get()) != 1) {
      if (SSL_get_error(ssl_.get(), -1) != SSL_ERROR_WANT_READ) fail("the TLS handshake failed");
      return;
    }
    sim::TlsClient::established(ssl_.get());
    BIO_up_ref(fleet_.out);
    SSL_set0_wbio(ssl_.get(), fleet_.out);
    phase_ = Phase::upgrade;
    const std::string token = fleet_.token_seed.empty() ? "" : sim::device_token(fleet_.token_seed, id_);
    write(sim::ws_upgrade_request({fleet_.host, "/v1/connect", "fieldgate.v1", token}, key_));
    send_out();
  }
  std::array<char, 16'384> plain{};
  std::size_t size = 0;
  while (SSL_read_ex(ssl_.get(), plain.data(), plain.size(), &size) == 1) take({plain.data(), size});
  if (SSL_get_error(ssl_.get(), 0) != SSL_ERROR_WANT_READ) fail("TLS ended");
  send_out();
}

void Device::take(std::string_view bytes) {
  if (phase_ == Phase::upgrade) {
    answer_.append(bytes);
    const auto answer = sim::ws_read_answer(answer_, key_, "fieldgate.v1");
    if (answer.state == sim::WsAnswer::State::incomplete) return;
    if (answer.state != sim::WsAnswer::State::accepted) fail("refused: " + answer_);
    v1::DeviceFrame frame;
    auto& hello = *frame.mutable_hello();
    hello.set_device_id(id_);
    hello.set_stream_id(stream_);
    hello.set_ack_stage(fleet_.stage);
    hello.set_heartbeat_seconds(k_heartbeat_seconds);
    hello.set_firmware_version("bench");
    std::string out;
    sim::ws_append_frame(out, sim::WsOpcode::binary, frame.SerializeAsString(),
                         static_cast<std::uint32_t>(fleet_.rng.next()));
    write(out);
    phase_ = Phase::hello;
    const std::string rest = answer_.substr(answer.consumed);
    answer_ = std::string();
    if (!rest.empty()) take(rest);
    return;
  }
  if (decoder_.feed(bytes, 65'536, *this) != sim::WsFault::none) fail("the server broke the WebSocket protocol");
}

bool Device::on_ws_frame(sim::WsOpcode opcode, std::string_view payload) {
  if (opcode == sim::WsOpcode::ping) {
    std::string pong;
    sim::ws_append_frame(pong, sim::WsOpcode::pong, payload, static_cast<std::uint32_t>(fleet_.rng.next()));
    write(pong);
    return true;
  }
  if (opcode != sim::WsOpcode::binary) fail("the server closed");
  v1::GatewayFrame frame;
  if (!frame.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) fail("not a GatewayFrame");
  if (frame.has_welcome()) {
    credit_ = frame.welcome().credit().frames();
    phase_ = Phase::live;
  } else if (frame.has_ack()) {
    acked_ = std::max(acked_, frame.ack().through());
  } else if (frame.has_throttle()) {
    credit_ = frame.throttle().credit().frames();
  } else if (frame.has_reject() || frame.has_goodbye()) {
    fail("refused: " + frame.ShortDebugString());
  }
  return true;
}

bool Device::has_credit() const noexcept {
  return !fleet_.acks || sent_ + fleet_.pack() <= acked_ + std::max(credit_, fleet_.pack());
}

void Device::send_pack() {
  const std::uint64_t seed = sim::check_seed(id_, stream_);
  std::string message;
  std::string frames;
  for (unsigned i = 0; i < fleet_.pack(); ++i) {
    fleet_.frames.telemetry(seed, ++sent_, sim::read_clocks().wall_us, fleet_.rng, message);
    sim::ws_append_frame(frames, sim::WsOpcode::binary, message, static_cast<std::uint32_t>(fleet_.rng.next()));
    if (fleet_.packing == Packing::record) continue;
    write(frames);
    frames.clear();
  }
  if (!frames.empty()) write(frames);
  send_out();
}

void Device::write(std::string_view plain) {
  std::size_t written = 0;
  if (SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written) != 1 || written != plain.size()) {
    fail("cannot encrypt");
  }
}

void Device::send_out() {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(fleet_.out, &bytes);
  if (size <= 0) return;
  if (::send(side_.fd, bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT) != size) {
    fail("the socket would not take all of it");
  }
  BIO_reset(fleet_.out);
}

}  // namespace fieldgate::bench
