// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/device.h"
#include "tests/sim/tls_client.h"
#include "tests/sim/ws_client.h"

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::sim {

// Where the gateway is and how to get there.
struct GatewayAddress {
  sockaddr_storage address{};
  socklen_t address_bytes = 0;
  std::string host_header;  // HOST:PORT
  // Loopback IPv4: connections come from 127.0.0.1 to 127.0.0.N in turn, because
  // one address has about 28,000 ports. 1: the system chooses.
  unsigned source_addresses = 1;
};

// What the connections of one thread share.
struct IoContext {
  int epoll = -1;
  const GatewayAddress& gateway;
  const TlsClient* tls = nullptr;  // nullptr: plain text
  std::string token_seed;          // empty: no token
  std::int64_t close_timeout_us = 5 * k_second_us;
  std::int64_t slow_read_every_us = 2 * k_second_us;
  DeviceContext devices;
  Now now;  // set before each call into a connection
  std::vector<char> ciphertext = std::vector<char>(65'536);
  std::vector<char> plaintext = std::vector<char>(16'384);
  std::string out;  // what the connection at hand has to say; empty between calls

  IoContext(const GatewayAddress& address, const DeviceSettings& settings, std::uint64_t seed)
      : gateway(address), devices(settings, seed) {}
};

// A device and its socket, TLS and WebSocket. Idle, it holds the SSL and nothing
// else: what is read goes through the thread's buffers, and what is said in one
// call leaves as one TLS record.
// Thread: its worker's.
class Connection final : public DeviceLink, private WsFrameSink {
 public:
  Connection(IoContext& io, std::uint32_t index);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Device& device() noexcept { return device_; }
  const Device& device() const noexcept { return device_; }
  // Events of epoll for generation().
  void on_events(std::uint32_t events);
  void wake();
  // Device::admit.
  bool admit();
  std::int64_t next_wake_us() const noexcept;
  void finish();
  void abandon();
  // Rises with every socket; tells a late event from a current one.
  std::uint32_t generation() const noexcept { return generation_; }

  // DeviceLink
  void connect() override;
  void send(std::string_view message) override;
  void ping() override;
  void close(std::uint16_t code) override;
  void drop(bool by_reset) override;
  bool congested() const override { return !pending_.empty(); }

 private:
  enum class Stage : std::uint8_t { none, tcp, tls, upgrade, open };

  bool on_ws_frame(WsOpcode opcode, std::string_view payload) override;
  bool open_socket();
  void connected();
  void start_upgrade();
  void readable();
  void handshake();
  void decrypt();
  void take(std::string_view bytes);
  void take_answer();
  void ended(Loss if_unexpected);
  void lose(Loss loss) noexcept {
    if (!loss_) loss_ = loss;
  }
  void flush();
  std::size_t write_some(std::string_view bytes);
  void watch(std::uint32_t events);
  void settle();
  void tear_down() noexcept;
  std::uint32_t mask() noexcept { return static_cast<std::uint32_t>(io_.devices.rng.next()); }
  bool slow_reader() const noexcept { return io_.devices.settings.profile == Profile::slow_reader; }

  struct Upgrade {
    WsKey key;
    std::string answer;
  };

  IoContext& io_;
  TlsSide tls_side_;  // its fd is the socket
  Stage stage_ = Stage::none;
  bool close_sent_ = false;
  bool close_received_ = false;
  bool closed_first_by_us_ = false;
  std::optional<Loss> loss_;
  std::uint32_t generation_ = 0;
  std::uint32_t watched_ = 0;
  std::int64_t deadline_us_ = k_never_us;
  std::int64_t read_us_ = k_never_us;  // slow reader: when it reads next
  SslPtr ssl_;
  std::unique_ptr<Upgrade> upgrade_;
  WsDecoder decoder_;
  std::string pending_;  // what the socket has not taken
  Device device_;
};

}  // namespace fieldgate::sim
