// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"
#include "tests/sim/frames.h"
#include "tests/sim/tls_client.h"
#include "tests/sim/ws_client.h"

#include "fieldgate/v1/device.pb.h"

#include <netinet/in.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// A device of the benches: it sends exactly what it is told, packed exactly as it is
// told, and so that it leaves in one TCP segment. For how real devices behave there is
// the simulator.
namespace fieldgate::bench {

// How frames are packed into TLS records, and these into what is sent at once.
enum class Packing : std::uint8_t {
  single,   // one frame, one record, one segment
  segment,  // several records of a frame each in one segment
  record,   // several frames in one record in one segment
};

// What the devices of one process share. One thread.
struct Fleet {
  sockaddr_in server{};
  std::string host;               // for the request
  unsigned source_addresses = 1;  // devices come from 127.0.0.1 and so on, in turn
  unsigned first_source = 1;      // ... or from this one on
  const sim::TlsClient* tls = nullptr;
  BIO* out = nullptr;  // memory: what OpenSSL has to say
  std::string id_prefix = "sim-";
  std::uint32_t first_index = 1;
  std::string token_seed;  // empty: no token
  v1::AckStage stage = v1::ACK_STAGE_FORWARDED;
  Packing packing = Packing::single;
  unsigned frames_per_pack = 8;  // but for Packing::single
  bool acks = true;              // they come, and credit holds
  sim::FrameFactory frames{sim::FrameShape{}};
  sim::Rng rng{1};

  unsigned pack() const noexcept { return packing == Packing::single ? 1 : frames_per_pack; }
};

// Connecting is done in steps, so that several can be at it: each waits for what it
// needs from the server. Errors: what goes wrong is thrown, for a bench cannot go on.
class Device final : private sim::WsFrameSink {
 public:
  Device(Fleet& fleet, std::uint32_t index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // `ticket`: to be resumed; nullptr: a full handshake.
  void connect(SSL_SESSION* ticket);
  void finish_tls();
  void finish_upgrade();
  void finish_hello();
  bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
  // nullptr: none has come.
  SSL_SESSION* ticket() const noexcept { return side_.session.get(); }

  bool has_credit() const noexcept;
  bool all_acked() const noexcept { return acked_ == sent_; }
  // One pack, in one segment. Precondition: has_credit().
  void send_pack();
  // There are bytes.
  void readable();
  int fd() const noexcept { return side_.fd; }

 private:
  enum class Phase : std::uint8_t { tls, upgrade, hello, live };

  bool on_ws_frame(sim::WsOpcode opcode, std::string_view payload) override;
  void take(std::string_view bytes);
  void receive(bool wait);
  void write(std::string_view plain);
  void send_out();
  [[noreturn]] void fail(const std::string& what) const;

  Fleet& fleet_;
  const std::string id_;
  const std::uint64_t stream_;
  sim::TlsSide side_;
  sim::SslPtr ssl_;
  sim::WsKey key_{};
  std::string answer_;
  sim::WsDecoder decoder_;
  Phase phase_ = Phase::tls;
  std::uint32_t index_;
  std::uint32_t credit_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t acked_ = 0;
};

}  // namespace fieldgate::bench
