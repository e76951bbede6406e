// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/device_poll.h"

#include "gateway/net/device_socket.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace fieldgate::net {
namespace {

int make_set() {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  return fd;
}

}  // namespace

void DeviceSocket::close() noexcept {
  if (fd_ != k_none) ::close(std::exchange(fd_, k_none));
}

DevicePoll::DevicePoll(boost::asio::io_context& io) : set_(io.get_executor(), make_set()) {}

bool DevicePoll::control(int operation, int fd, SessionRef session, unsigned events) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.u64 = std::uint64_t{session.slot} << 32 | session.generation;
  return ::epoll_ctl(set_.native_handle(), operation, fd, &event) == 0;
}

std::span<const epoll_event> DevicePoll::take() noexcept {
  const int n = ::epoll_wait(set_.native_handle(), events_.data(), static_cast<int>(events_.size()), 0);
  return std::span(events_).first(static_cast<std::size_t>(std::max(n, 0)));
}

DevicePoll::Ready DevicePoll::ready(const epoll_event& event) noexcept {
  const SessionRef session{static_cast<std::uint32_t>(event.data.u64 >> 32),
                           static_cast<std::uint32_t>(event.data.u64)};
  return {session, (event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0, (event.events & EPOLLOUT) != 0,
          (event.events & EPOLLRDHUP) != 0};
}

void DevicePoll::close() noexcept {
  boost::system::error_code ignored;
  set_.close(ignored);
}

}  // namespace fieldgate::net
