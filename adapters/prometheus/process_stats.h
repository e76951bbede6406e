// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

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

ProcessStats read_process_stats();

}  // namespace fieldgate::metrics
