// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"
#include "tests/sim/tls_client.h"
#include "tests/sim/ws_client.h"

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::bench {

class Link;

// Whoever drives links. `on_lost` comes once for each connect(); the link may be connected again from within it.
class LinkOwner {
 public:
  virtual ~LinkOwner() = default;
  // The upgrade is done.
  virtual void on_open(Link& link) = 0;
  // A whole WebSocket frame. `payload` is borrowed for the call.
  virtual void on_frame(Link& link, sim::WsOpcode opcode, std::string_view payload) = 0;
  virtual void on_lost(Link& link) = 0;
  // TLS stands, the upgrade has not been asked for yet. False: it is not to be.
  virtual bool on_secured(Link&) { return true; }
};

// How far a link goes by itself.
enum class Depth : std::uint8_t { tcp, websocket };

// What the links of one thread share.
struct LinkContext {
  int epoll = -1;
  sockaddr_in server{};
  std::string host_header;
  std::string path = "/v1/connect";
  std::string subprotocol = "fieldgate.v1";
  std::string token_seed;  // empty: no token
  std::string id_prefix = "sim-";
  unsigned first_source = 0;  // connections come from 127.0.0.1 + first_source and so many more
  unsigned source_addresses = 1;
  Depth depth = Depth::websocket;
  const sim::TlsClient* tls = nullptr;
  LinkOwner* owner = nullptr;
  sim::Now now;
  sim::Rng rng{1};
  std::vector<char> ciphertext = std::vector<char>(65'536);
  std::vector<char> plaintext = std::vector<char>(16'384);
  std::string out;  // reused

  // sim-000001, as the simulator names its devices.
  std::string device_id(std::uint32_t index) const;
};

// One WebSocket over TLS, client side, on the simulator's own pieces: thin, so that a server is what is measured.
// A message leaves at once as a TLS record of its own, unless corked.
// Thread: its context's. Bounds: what the socket does not take waits here; ask congested() before sending more.
class Link {
 public:
  Link(LinkContext& context, std::uint32_t index);
  ~Link() { tear_down(); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  std::uint32_t index() const noexcept { return index_; }
  // Rises with every socket; tells a late event from a current one.
  std::uint32_t generation() const noexcept { return generation_; }
  bool open() const noexcept { return stage_ == Stage::open; }
  bool idle() const noexcept { return stage_ == Stage::none; }
  bool congested() const noexcept { return !pending_.empty(); }

  void connect();
  // Events of epoll for generation().
  void on_events(std::uint32_t events);
  // Masked, final.
  void send(sim::WsOpcode opcode, std::string_view payload);
  // Plain text into the TLS stream as it is; before TLS stands, into the socket.
  void send_bytes(std::string_view bytes);
  // Between cork() and uncork() what is sent gathers, and leaves in as few records as hold it.
  void cork() noexcept { corked_ = true; }
  void uncork();
  // Reads nothing any more; the peer's window fills.
  void stop_reading();
  // Gone at once: by a reset, or by an end of stream. No on_lost.
  void cut(bool by_reset);

 private:
  enum class Stage : std::uint8_t { none, tcp, tls, upgrade, open };
  struct Sink;

  bool open_socket();
  void connected();
  void handshake();
  void start_upgrade();
  void readable();
  void decrypt();
  void take(std::string_view bytes);
  void take_answer();
  void flush();
  std::size_t write_some(std::string_view bytes);
  void watch(std::uint32_t events);
  void settle();
  void tear_down() noexcept;

  struct Upgrade {
    sim::WsKey key{};
    std::string answer;
  };

  LinkContext& context_;
  const std::uint32_t index_;
  std::uint32_t generation_ = 0;
  std::uint32_t watched_ = 0;
  Stage stage_ = Stage::none;
  bool lost_ = false;
  bool corked_ = false;
  bool deaf_ = false;
  sim::TlsSide side_;  // its fd is the socket
  sim::SslPtr ssl_;
  std::unique_ptr<Upgrade> upgrade_;
  sim::WsDecoder decoder_;
  std::string pending_;  // what the socket has not taken
};

}  // namespace fieldgate::bench
