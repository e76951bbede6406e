// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/cell.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/core/token_bucket.h"
#include "gateway/net/proxy_door.h"
#include "gateway/ports/probes.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fieldgate::net {

class Shard;

// A shard's share of the device port. Every shard listens on the same port
// (SO_REUSEPORT), and the kernel spreads connections evenly.
//
// A handshake costs about half a millisecond of CPU and there is no cheap way to
// say no before it: so accepts are paced by the handshake budget. What waits in
// the kernel's queue beyond k_queue_seconds of that budget is reset: a device that
// is told at once backs off with jitter, one that times out does so in step with
// the others. While memory or descriptors are short (ShardEnv::pressure) all of it is.
// Connections of trusted balancers pass the ProxyDoor before they are sessions.
// Shard:  every member.
// Bounds: at most handshakes_max / shards handshakes at once. While others wait, a peer that keeps silent has to give
//         its place up (Shard::displace_staller, ProxyDoor::displace): or a few hundred that say nothing would keep all
//         others out.
class Listener {
 public:
  // A device gives a connection up that has not reached Welcome within 20 s (docs/protocol.md), and many a TLS library
  // after 10: whoever waits longer than this would be gone before its turn. A shorter queue runs dry towards the end of
  // a storm, when those that were reset several times are away for long, and the last of them come back late.
  static constexpr std::uint32_t k_queue_seconds = 8;

  // How many connections may wait in the kernel's queue of each shard, which holds `backlog`: one that is full drops
  // what comes, and tells nobody.
  static std::uint32_t queue_kept(std::uint32_t handshakes_per_second, std::uint32_t shards,
                                  std::uint32_t backlog) noexcept;

  explicit Listener(Shard& shard);

  // Binds and listens; accepts nothing yet. Returns the port (that of the first
  // shard, if `endpoint` leaves it open, is for the others to use).
  // Errors: what is wrong with the address and what to do about it.
  Result<std::uint16_t> open(const Endpoint& endpoint);
  void start();
  void close();

 private:
  void wait();
  void accept_ready();
  // Until then the shard's probe shows why.
  void pause(AcceptPause why, std::chrono::milliseconds delay);
  // Why nobody may come in now.
  std::optional<AcceptPause> pressure() const;
  // Resets what waits in the kernel's queue beyond `keep`, or some of it: false.
  bool shed(EndReason reason, std::uint32_t keep);
  void shed_overflow(EndReason reason);
  bool anybody_waits();
  bool displace();
  void admit(int fd, const boost::asio::ip::tcp::endpoint& peer);
  // `device`: its address, as far as it is known.
  void let_in(int fd, const boost::asio::ip::tcp::endpoint& device);
  void turn_away(int fd, EndReason reason);
  void refuse_proxied(int fd, const boost::asio::ip::tcp::endpoint& peer, std::string_view why);
  void reset(int fd, EndReason reason);

  Shard& shard_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer resume_;
  TokenBucket budget_;
  ProxyDoor door_;
  GaugeHold paused_;  // while it waits to go on accepting
  bool accepting_ = false;
  std::uint32_t backlog_ = 0;
};

// Whether another process listens on `endpoint` already. SO_REUSEPORT would let a
// second gateway in silently and take half of the connections.
// Thread: any; before open().
Result<void> check_unused(const Endpoint& endpoint);

}  // namespace fieldgate::net
