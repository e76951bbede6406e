// SPDX-License-Identifier: Apache-2.0
#include "gateway/ports/thread_scheduling.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace fieldgate {
namespace {

// As the kernel has it (sched_setattr(2), SCHED_ATTR_SIZE_VER0). Its own header cannot be had beside <sched.h>, and the
// C library has neither this nor the call.
struct SchedAttr {
  std::uint32_t size = sizeof(SchedAttr);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // of a slice, in nanoseconds
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};
static_assert(sizeof(SchedAttr) == 48);

}  // namespace

void let_work_gather() noexcept {
  if (::sched_getscheduler(0) != SCHED_OTHER) return;
  SchedAttr wanted;
  wanted.policy = SCHED_BATCH;
  wanted.nice = ::getpriority(PRIO_PROCESS, 0);  // of this thread: as it is
  wanted.runtime = static_cast<std::uint64_t>(std::chrono::nanoseconds(k_short_slice).count());
  ::syscall(SYS_sched_setattr, 0, &wanted, 0);
}

}  // namespace fieldgate
