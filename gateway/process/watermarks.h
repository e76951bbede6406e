// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"

#include <atomic>
#include <cstdint>

namespace fieldgate {

// Over its high mark, and until it is at or below the low one. Thread: one.
class Watermark {
 public:
  // Marks in percent of `limit`; limit 0, or a high mark of 100: never over. used 0, not
  // known: as before.
  bool look(std::uint64_t used, std::uint64_t limit, std::uint32_t high, std::uint32_t low) noexcept;
  bool over() const noexcept { return over_; }

 private:
  bool over_ = false;
};

// What this process uses, and what it may use.
struct ResourceUse {
  // Resident, but for pages of files: those of the spool that a lane reads back after an
  // outage stay mapped, and count in the control group, but the kernel takes them away
  // again when it wants memory.
  std::uint64_t memory_bytes = 0;
  std::uint64_t memory_bytes_max = 0;  // of its control group; 0: no limit
  std::uint64_t descriptors = 0;
  std::uint64_t descriptors_max = 0;
};

// Reads it from /proc and from the control group's files (version 1 or 2), all of which
// the kernel makes on the spot. What cannot be read is 0. Thread: any.
ResourceUse resource_use();

// The least of the limits that the files of a control group name ("max", and what is
// larger than any machine, is none); 0: there is none. For tests: `root` is where the
// control groups are mounted, `groups` the text of /proc/self/cgroup.
std::uint64_t cgroup_memory_limit(const char* root, const char* groups);

// Whether devices may be let in, by both watermarks. Thread: one, but where noted.
class Watermarks {
 public:
  void look(const ResourceUse& use, const LimitSettings& limits) noexcept;
  bool memory() const noexcept { return memory_.over(); }
  bool descriptors() const noexcept { return descriptors_.over(); }

  // What memory was held against what at the last look; 0: it is not known, there is no
  // limit. Thread: any.
  std::uint64_t memory_bytes() const noexcept { return memory_bytes_.load(std::memory_order_relaxed); }
  std::uint64_t memory_bytes_max() const noexcept { return memory_bytes_max_.load(std::memory_order_relaxed); }

 private:
  Watermark memory_;
  Watermark descriptors_;
  std::atomic<std::uint64_t> memory_bytes_{0};
  std::atomic<std::uint64_t> memory_bytes_max_{0};
};

}  // namespace fieldgate
