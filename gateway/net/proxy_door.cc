// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/proxy_door.h"

#include "gateway/net/proxy_protocol.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>
#include <variant>

namespace fieldgate::net {

using boost::asio::ip::tcp;

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

void ProxyDoor::close() {
  while (!visitors_.empty()) refuse(visitors_.begin()->first, "the gateway stops listening");
}

}  // namespace fieldgate::net
