// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace fieldgate::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void reset(int fd) {
  const linger abort{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  ::close(fd);
}

// False: one side has ended.
bool pass(int from, int to) {
  std::array<char, 65'536> buffer{};
  const ssize_t size = ::recv(from, buffer.data(), buffer.size(), 0);
  for (ssize_t sent = 0; sent < size;) {
    const ssize_t part = ::send(to, buffer.data() + sent, static_cast<std::size_t>(size - sent), MSG_NOSIGNAL);
    if (part <= 0) return false;
    sent += part;
  }
  return size > 0;
}

}  // namespace

TcpProxy::TcpProxy(std::uint16_t to) : to_(to), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  auto address = loopback(0);
  socklen_t size = sizeof address;
  const bool ok = ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                  ::listen(listener_, 16) == 0 &&
                  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (!ok) throw std::runtime_error("proxy cannot listen");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

TcpProxy::~TcpProxy() { cut(); }

void TcpProxy::cut() {
  cut_ = true;
  if (thread_.joinable()) thread_.join();
}

void TcpProxy::run() {
  while (!cut_) {
    std::vector<pollfd> waits = {{listener_, POLLIN, 0}};
    for (const auto& [near, far] : pairs_) {
      waits.push_back({near, POLLIN, 0});
      waits.push_back({far, POLLIN, 0});
    }
    ::poll(waits.data(), waits.size(), 10);
    for (std::size_t i = pairs_.size(); i-- > 0;) {
      const auto [near, far] = pairs_[i];
      const bool open =
          (waits[1 + 2 * i].revents == 0 || pass(near, far)) && (waits[2 + 2 * i].revents == 0 || pass(far, near));
      if (open) continue;
      reset(near);
      reset(far);
      pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (waits[0].revents != 0) {
      const int near = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int far = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const auto address = loopback(to_);
      if (::connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        pairs_.emplace_back(near, far);
      } else {
        reset(near);
        reset(far);
      }
    }
  }
  ::close(listener_);
  for (const auto& [near, far] : pairs_) {
    reset(near);
    reset(far);
  }
}

}  // namespace fieldgate::test
