// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/watermarks.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace fieldgate {
namespace {

// Version 1 writes "no limit" as the largest number of pages.
constexpr std::uint64_t k_no_limit = std::uint64_t{1} << 60;

std::uint64_t number_in(const std::string& file) {
  std::ifstream in(file);
  std::string text;
  in >> text;
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc() && end != text.data() && value < k_no_limit ? value : 0;
}

void take_least(std::uint64_t& least, std::uint64_t limit) {
  if (limit != 0) least = least == 0 ? limit : std::min(least, limit);
}

// Of a group and of those around it, up to the one that is mounted at `mount`.
void take_least_of_group(std::uint64_t& least, const std::string& mount, std::string group, const char* file) {
  for (;;) {
    take_least(least, number_in(mount + group + "/" + file));
    const std::size_t slash = group.rfind('/');
    if (group.empty() || slash == std::string::npos) return;
    group.resize(slash);
  }
}

std::uint64_t allocated_bytes() {
  // Pages; the third number is how many of the resident ones are of files (proc(5)).
  std::ifstream in("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  std::uint64_t of_files = 0;
  in >> size >> resident >> of_files;
  return (resident - std::min(resident, of_files)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t open_descriptors() {
  // The folder's size is their number from Linux 6.2 on; before it is 0.
  struct stat status {};
  if (::stat("/proc/self/fd", &status) == 0 && status.st_size > 0) return static_cast<std::uint64_t>(status.st_size);
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  std::uint64_t entries = 0;
  while (::readdir(folder) != nullptr) ++entries;
  ::closedir(folder);
  return entries - std::min<std::uint64_t>(entries, 3);  // . and .. and the folder's own
}

}  // namespace

bool Watermark::look(std::uint64_t used, std::uint64_t limit, std::uint32_t high, std::uint32_t low) noexcept {
  if (limit == 0 || high >= 100) return over_ = false;
  if (used == 0) return over_;
  const auto share = [limit](std::uint32_t percent) { return limit / 100 * percent + limit % 100 * percent / 100; };
  return over_ = used > share(over_ ? low : high);
}

std::uint64_t cgroup_memory_limit(const char* root, const char* groups) {
  std::uint64_t least = 0;
  std::istringstream lines(groups);
  for (std::string line; std::getline(lines, line);) {
    // hierarchy-ID:controllers:path (cgroups(7))
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers == ",,") take_least_of_group(least, root, group, "memory.max");
    if (controllers.find(",memory,") != std::string::npos) {
      take_least_of_group(least, std::string(root) + "/memory", group, "memory.limit_in_bytes");
    }
  }
  return least;
}

ResourceUse resource_use() {
  ResourceUse use;
  use.memory_bytes = allocated_bytes();
  std::ifstream in("/proc/self/cgroup");
  const std::string groups{std::istreambuf_iterator<char>(in), {}};
  use.memory_bytes_max = cgroup_memory_limit("/sys/fs/cgroup", groups.c_str());
  use.descriptors = open_descriptors();
  rlimit most{};
  if (::getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur != RLIM_INFINITY) use.descriptors_max = most.rlim_cur;
  return use;
}

void Watermarks::look(const ResourceUse& use, const LimitSettings& limits) noexcept {
  const std::uint64_t memory_max = limits.memory_bytes_max != 0 ? limits.memory_bytes_max : use.memory_bytes_max;
  memory_bytes_.store(use.memory_bytes, std::memory_order_relaxed);
  memory_bytes_max_.store(memory_max, std::memory_order_relaxed);
  memory_.look(use.memory_bytes, memory_max, limits.memory_high, limits.memory_low);
  descriptors_.look(use.descriptors, use.descriptors_max, limits.descriptors_high, limits.descriptors_low);
}

}  // namespace fieldgate
