// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

namespace fieldgate {

// Writes each message as a line to a file descriptor, waiting as long as its
// reader does; after stop_waiting(), only until that moment.
// Thread: log() on spdlog's one thread; stop_waiting() on any.
class FdSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  // `before_line` is called ahead of each line with a function that writes one.
  using Write = std::function<void(std::string_view line)>;
  FdSink(int fd, std::function<void(const Write&)> before_line) : fd_(fd), before_line_(std::move(before_line)) {}

  void stop_waiting(std::chrono::steady_clock::time_point deadline) noexcept { deadline_.store(deadline); }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}
  void write_line(std::string_view line);
  bool wait_writable() const;

  const int fd_;
  const std::function<void(const Write&)> before_line_;
  std::atomic<std::chrono::steady_clock::time_point> deadline_{std::chrono::steady_clock::time_point::max()};
};

}  // namespace fieldgate
