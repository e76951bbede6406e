// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/cell.h"
#include "gateway/core/error.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

namespace fieldgate::net {

// Connections from trusted balancers that have not said yet whom they speak for: each
// must begin with a PROXY header, which is read here, and not one byte more.
// Shard:  every member.
// Owns:   the sockets it has taken, until it passes them on.
// Bounds: each counts as a handshake in progress, of which there is a bound; at most
//         4 KiB of header and `patience` each, less where others wait for its place.
class ProxyDoor {
 public:
  using Endpoint = boost::asio::ip::tcp::endpoint;
  // Both take the descriptor over. `device`: where the header says that it is, or else the peer.
  using Pass = std::function<void(int fd, const Endpoint& device)>;
  using Refuse = std::function<void(int fd, const Endpoint& peer, std::string_view why)>;

  ProxyDoor(boost::asio::io_context& io, GaugeCell& handshakes, Pass pass, Refuse refuse);
  ~ProxyDoor();

  void take(int fd, const Endpoint& peer, std::chrono::milliseconds patience);
  // While all places are taken and others wait: refuses the one that has been here longest without its header, if for a
  // second and more and with nothing unread. False: there is none.
  bool displace();
  // Refuses all that wait.
  void close();

 private:
  struct Visitor {
    Visitor(boost::asio::io_context& io, GaugeCell& handshakes, const Endpoint& from)
        : socket(io), deadline(io), handshake(handshakes), peer(from) {}
    boost::asio::ip::tcp::socket socket;
    boost::asio::steady_timer deadline;
    std::chrono::steady_clock::time_point came = std::chrono::steady_clock::now();
    GaugeHold handshake;
    Endpoint peer;
    std::vector<std::byte> header;
  };

  void wait(std::uint64_t id, Visitor& visitor);
  void readable(std::uint64_t id);
  void refuse(std::uint64_t id, std::string_view why);
  // Its socket, which is nobody's then.
  int leave(std::uint64_t id, Endpoint& peer);

  boost::asio::io_context& io_;
  GaugeCell& handshakes_;
  const Pass pass_;
  const Refuse refuse_;
  std::map<std::uint64_t, std::unique_ptr<Visitor>> visitors_;  // as they came
  std::uint64_t next_ = 0;
};

}  // namespace fieldgate::net
