// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/record.h"

#include <sys/epoll.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include <array>
#include <cstddef>
#include <span>

namespace fieldgate::net {

// The device sockets of one shard, in an epoll set of their own, which Asio watches as
// one descriptor. A socket is put in once and stays, level-triggered, until it is
// closed: so a frame costs no epoll_ctl, no allocation and no handler, and what is
// readable at one time is worked through in one turn of the shard.
// Shard:  every member.
// Bounds: k_turn_max sockets a turn; the others come in the next, in the kernel's
//         order, which is that of waiting.
class DevicePoll {
 public:
  static constexpr std::size_t k_turn_max = 128;

  struct Ready {
    SessionRef session;
    bool readable;  // or ended, or in error: reading tells which
    bool writable;
    bool hung_up;  // the peer has ended its side; what it sent before is still to be read
  };

  // Throws std::system_error: no descriptor is left for the set.
  explicit DevicePoll(boost::asio::io_context& io);

  // False, with errno set: the socket is not watched.
  bool add(int fd, SessionRef session) noexcept { return control(EPOLL_CTL_ADD, fd, session, EPOLLIN | EPOLLRDHUP); }
  // Whether it is also to be told of room to write.
  bool watch_writable(int fd, SessionRef session, bool yes) noexcept {
    return control(EPOLL_CTL_MOD, fd, session, EPOLLIN | EPOLLRDHUP | (yes ? EPOLLOUT : 0U));
  }
  // One that has hung up is told of no more, until it is resumed: then as readable.
  bool pause(int fd, SessionRef session) noexcept { return control(EPOLL_CTL_DEL, fd, session, 0); }
  bool resume(int fd, SessionRef session) noexcept { return control(EPOLL_CTL_ADD, fd, session, EPOLLIN); }

  // `turn` is called once, with io's handlers, as soon as some socket is ready; not
  // after close().
  template <class Turn>
  void wait(Turn&& turn) {
    set_.async_wait(boost::asio::posix::descriptor_base::wait_read, std::forward<Turn>(turn));
  }
  // Sockets that are ready now. Each still has to be asked whether its session is there.
  std::span<const epoll_event> take() noexcept;
  static Ready ready(const epoll_event& event) noexcept;

  void close() noexcept;

 private:
  using Set = boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type>;

  bool control(int operation, int fd, SessionRef session, unsigned events) noexcept;

  Set set_;
  std::array<epoll_event, k_turn_max> events_{};
};

}  // namespace fieldgate::net
