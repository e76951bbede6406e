// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/proxy_door.h"

#include "gateway/net/proxy_protocol.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <variant>

namespace fieldgate::net {

using boost::asio::ip::tcp;

namespace {
// A balancer has the header at hand, and sends it first (PROXY protocol, section 2).
constexpr std::chrono::seconds k_first_word{1};
}  // namespace

ProxyDoor::ProxyDoor(boost::asio::io_context& io, GaugeCell& handshakes, Pass pass, Refuse refuse)
    : io_(io), handshakes_(handshakes), pass_(std::move(pass)), refuse_(std::move(refuse)) {}

ProxyDoor::~ProxyDoor() = default;

void ProxyDoor::take(int fd, const Endpoint& peer, std::chrono::milliseconds patience) {
  const std::uint64_t id = ++next_;
  Visitor& visitor = *visitors_.emplace(id, std::make_unique<Visitor>(io_, handshakes_, peer)).first->second;
  error_code ignored;
  visitor.socket.assign(peer.protocol(), fd, ignored);
  visitor.deadline.expires_after(patience);
  visitor.deadline.async_wait([this, id](error_code ec) {
    if (!ec) refuse(id, "its PROXY header did not come in time");
  });
  wait(id, visitor);
}

void ProxyDoor::wait(std::uint64_t id, Visitor& visitor) {
  visitor.socket.async_wait(tcp::socket::wait_read, [this, id](error_code ec) {
    if (!ec) readable(id);
  });
}

void ProxyDoor::readable(std::uint64_t id) {
  const auto found = visitors_.find(id);
  if (found == visitors_.end()) return;
  Visitor& visitor = *found->second;
  for (;;) {
    const ProxyResult result = parse_proxy_header(visitor.header);
    if (const auto* refused = std::get_if<ProxyRefused>(&result)) return refuse(id, refused->why);
    if (const auto* header = std::get_if<ProxyHeader>(&result)) {
      Endpoint device;
      const int fd = leave(id, device);
      return pass_(fd, header->source.value_or(device));
    }
    const std::size_t have = visitor.header.size();
    visitor.header.resize(std::get<ProxyNeedMore>(result).total);
    const ssize_t n =
        ::recv(visitor.socket.native_handle(), visitor.header.data() + have, visitor.header.size() - have, 0);
    visitor.header.resize(have + static_cast<std::size_t>(n > 0 ? n : 0));
    if (n == 0) return refuse(id, "it ended before its PROXY header");
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return wait(id, visitor);
    if (n < 0) return refuse(id, "it was reset before its PROXY header");
  }
}

void ProxyDoor::refuse(std::uint64_t id, std::string_view why) {
  if (!visitors_.contains(id)) return;
  Endpoint peer;
  const int fd = leave(id, peer);
  refuse_(fd, peer, why);
}

int ProxyDoor::leave(std::uint64_t id, Endpoint& peer) {
  const auto visitor = std::move(visitors_.extract(id).mapped());
  peer = visitor->peer;
  error_code ec;
  return visitor->socket.release(ec);
}

bool ProxyDoor::displace() {
  const auto now = std::chrono::steady_clock::now();
  // What has come and was not read yet is no fault of the peer's.
  const auto stalls = [now](const auto& visitor) {
    error_code ec;
    return now - visitor.second->came >= k_first_word && visitor.second->socket.available(ec) == 0;
  };
  const auto staller = std::ranges::find_if(visitors_, stalls);
  if (staller == visitors_.end()) return false;
  refuse(staller->first, "its PROXY header did not come within a second, and others wait for its place");
  return true;
}

void ProxyDoor::close() {
  while (!visitors_.empty()) refuse(visitors_.begin()->first, "the gateway stops listening");
}

}  // namespace fieldgate::net
