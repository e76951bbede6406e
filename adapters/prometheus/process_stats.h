// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <dirent.h>

namespace fieldgate::metrics {

// This process as the kernel sees it (proc(5)). What cannot be read is 0.
struct ProcessStats {
  double cpu_seconds = 0;  // user and system
  double start_time_unix = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t threads = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
};

// Keeps what it reads open: when descriptors run out, the figures are wanted most.
// Thread: any, one call at a time.
class ProcessReader {
 public:
  ProcessReader();
  ~ProcessReader();
  ProcessReader(const ProcessReader&) = delete;
  ProcessReader& operator=(const ProcessReader&) = delete;

  ProcessStats read() const;

 private:
  std::string stat_text() const;
  std::uint64_t count_open_fds() const;

  const int stat_fd_;  // /proc/self/stat
  DIR* const fds_;     // /proc/self/fd
  const double boot_time_unix_;
};

}  // namespace fieldgate::metrics
