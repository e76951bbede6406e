// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/process_stats.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
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
std::vector<std::uint64_t> stat_fields(const std::string& text) {
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return {};
  std::istringstream rest(text.substr(end + 1));
  std::vector<std::uint64_t> fields;
  for (std::string word; rest >> word;) fields.push_back(std::strtoull(word.c_str(), nullptr, 10));
  return fields;
}

}  // namespace

ProcessReader::ProcessReader()
    : stat_fd_(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC)),
      fds_(::opendir("/proc/self/fd")),
      boot_time_unix_(boot_time_unix()) {}

ProcessReader::~ProcessReader() {
  if (stat_fd_ >= 0) ::close(stat_fd_);
  if (fds_ != nullptr) ::closedir(fds_);
}

// Made anew by the kernel for each read from its beginning.
std::string ProcessReader::stat_text() const {
  std::array<char, 4'096> text;
  const ssize_t n = ::pread(stat_fd_, text.data(), text.size(), 0);
  return n > 0 ? std::string(text.data(), static_cast<std::size_t>(n)) : std::string();
}

std::uint64_t ProcessReader::count_open_fds() const {
  if (fds_ == nullptr) return 0;
  ::rewinddir(fds_);
  std::uint64_t count = 0;
  while (const dirent* entry = ::readdir(fds_)) count += entry->d_name[0] != '.' ? 1 : 0;
  return count;
}

ProcessStats ProcessReader::read() const {
  ProcessStats stats;
  // Field numbers of proc(5), less the first three that stat_fields leaves out.
  constexpr std::size_t k_utime = 11, k_stime = 12, k_threads = 17, k_start = 19, k_vsize = 20, k_rss = 21;
  const std::vector<std::uint64_t> fields = stat_fields(stat_text());
  if (fields.size() > k_rss) {
    static const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    stats.cpu_seconds = static_cast<double>(fields[k_utime] + fields[k_stime]) / ticks;
    stats.start_time_unix = boot_time_unix_ + static_cast<double>(fields[k_start]) / ticks;
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
