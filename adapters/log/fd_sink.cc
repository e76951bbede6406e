// SPDX-License-Identifier: Apache-2.0
#include "adapters/log/fd_sink.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

namespace fieldgate {

bool FdSink::wait_writable() const {
  while (true) {
    const bool late = std::chrono::steady_clock::now() >= deadline_.load();
    pollfd poll_for{fd_, POLLOUT, 0};
    // Short waits, so that a deadline set meanwhile is seen.
    const int ready = poll(&poll_for, 1, late ? 0 : 50);
    // Without a reader a write would raise SIGPIPE.
    if (ready > 0) return (poll_for.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
    if (late || (ready < 0 && errno != EINTR)) return false;
  }
}

void FdSink::write_line(std::string_view line) {
  std::string bytes(line);
  bytes.push_back('\n');
  std::string_view rest = bytes;
  while (!rest.empty()) {
    // A pipe that polls writable takes PIPE_BUF bytes without blocking.
    if (!wait_writable()) return;
    const ssize_t written = write(fd_, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF));
    if (written < 0 && errno != EINTR && errno != EAGAIN) return;
    if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

void FdSink::sink_it_(const spdlog::details::log_msg& message) {
  before_line_([this](std::string_view line) { write_line(line); });
  write_line({message.payload.data(), message.payload.size()});
}

}  // namespace fieldgate
