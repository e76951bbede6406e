// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace fieldgate::metrics {
namespace {

// Seconds since 1970 at which the machine started; it does not change.
double boot_time_unix() {
  std::ifstream in("/proc/stat");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("btime ")) return static_cast<double>(std::strtoull(line.c_str() + 6, nullptr, 10));
  }
  return 0;
}

// The fields of /proc/self/stat from the third on: what precedes them is the
// program's name in parentheses, which may hold anything.
std::vector<std::uint64_t> stat_fields() {
  std::ifstream in("/proc/self/stat");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return {};
  std::istringstream rest(text.substr(end + 1));
  std::vector<std::uint64_t> fields;
  for (std::string word; rest >> word;) fields.push_back(std::strtoull(word.c_str(), nullptr, 10));
  return fields;
}

std::uint64_t count_open_fds() {
  std::error_code ec;
  std::filesystem::directory_iterator at("/proc/self/fd", ec);
  std::uint64_t count = 0;
  for (; !ec && at != std::filesystem::directory_iterator(); at.increment(ec)) ++count;
  return count > 0 ? count - 1 : 0;  // one of them is this listing
}

}  // namespace

ProcessStats read_process_stats() {
  ProcessStats stats;
  // Field numbers of proc(5), less the first three that stat_fields leaves out.
  constexpr std::size_t k_utime = 11, k_stime = 12, k_threads = 17, k_start = 19, k_vsize = 20, k_rss = 21;
  const std::vector<std::uint64_t> fields = stat_fields();
  if (fields.size() > k_rss) {
    static const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    static const double boot = boot_time_unix();
    stats.cpu_seconds = static_cast<double>(fields[k_utime] + fields[k_stime]) / ticks;
    stats.start_time_unix = boot + static_cast<double>(fields[k_start]) / ticks;
    stats.threads = fields[k_threads];
    stats.virtual_bytes = fields[k_vsize];
    stats.resident_bytes = fields[k_rss] * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  }
  stats.open_fds = count_open_fds();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;
  return stats;
}

}  // namespace fieldgate::metrics
