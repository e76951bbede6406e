// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/traffic/driver.h"

#include "fieldgate/v1/device.pb.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::bench {

// What a client does that means harm, or has lost its mind. Thrown out, it comes back.
enum class Harm : std::uint8_t {
  silent_tcp,      // connects, and not a byte more
  half_hello,      // half a TLS ClientHello
  half_request,    // TLS, then a request whose headers come byte by byte and never end
  no_hello,        // upgraded, and nothing more
  message_flood,   // data frames without regard for credit and rate
  ping_flood,      // pings
  fragment_flood,  // a message that never ends: empty continuation frames
  oversize,        // a frame of 2^40 bytes, and as many as it can of them
  reconnect_loop,  // from Welcome straight into a new connection
  slow_reader,     // asks and asks for the time, and reads none of the answers
};
const std::map<std::string, Harm>& harms();

struct HostileSettings {
  Harm harm = Harm::silent_tcp;
  std::uint32_t clients = 50;
  std::uint32_t first_index = 1;
  double chunks_per_second = 100;  // of each client that floods: 16 KiB each
  double back_within = 0.2;        // seconds
};

// `go` starts them, `mark`: what they have done since the last one.
class Hostile final : public Driver {
 public:
  explicit Hostile(const HostileSettings& settings);
  // How far the links are to go by themselves.
  Depth depth() const noexcept;

  void on_open(Link& link) override;
  void on_frame(Link& link, sim::WsOpcode opcode, std::string_view payload) override;
  void on_lost(Link& link) override;
  bool on_secured(Link& link) override;

 protected:
  void on_start() override {}
  std::int64_t on_turn() override { return sim::k_never_us; }
  void on_due(std::uint32_t slot) override;
  std::string on_command(const std::vector<std::string>& words) override;

 private:
  void back(std::uint32_t slot);
  void send_hello(Link& link);
  void send_chunk(std::uint32_t slot);
  std::string make_chunk();
  std::int64_t chunk_every_us() const noexcept;

  const HostileSettings settings_;
  v1::DeviceFrame up_;
  std::string packet_;
  std::vector<bool> welcomed_;
  std::string chunk_;  // made with the two first ones
  std::uint64_t connects_ = 0;
  std::uint64_t opens_ = 0;
  std::uint64_t thrown_out_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace fieldgate::bench
