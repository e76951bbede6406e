// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/log.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace fieldgate {

struct ProcessLogOptions {
  int fd = 2;  // borrowed
  std::size_t queue_lines_max = 4'096;
  // How long the destructor waits for a reader of `fd` that has stopped reading.
  std::chrono::milliseconds flush_patience{2'000};
  // Called on the logging thread with the number of lines lost since the last call.
  std::function<void(std::uint64_t)> on_dropped;
  // Outlives the log; nullptr: the system's.
  const Clock* clock = nullptr;
};

// The process's log: one line per event on a file descriptor, written by a
// thread of its own.
// Thread: every member from any thread; none waits for the descriptor. The
//         destructor writes what is queued, for at most `flush_patience`.
// Bounds: `queue_lines_max` lines; a full queue gives up its oldest line, counts
//         it, and says so in a line event=log_dropped. A value takes at most 256
//         bytes. At most `per_event_per_second` lines a second carry one event
//         name; the rest are counted and summed up in a line event=log_suppressed
//         by the first line written in a later second, or at the end.
class ProcessLog : public Log {
 public:
  virtual void set_level(LogLevel level) noexcept = 0;
  // Lines given up since the start, because the queue was full.
  virtual std::uint64_t dropped_lines() const noexcept = 0;
};

std::unique_ptr<ProcessLog> make_log(const LogSettings& settings, ProcessLogOptions options = {});

}  // namespace fieldgate
