// SPDX-License-Identifier: Apache-2.0
#include "gateway/ports/thread_scheduling.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

namespace fieldgate {
namespace {

// sched_getattr(2), version 0.
struct Now {
  std::uint32_t size = 0;
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

// What becomes of a thread that does this.
template <class F>
Now after(F f) {
  Now now;
  std::thread([&] {
    f();
    EXPECT_EQ(::syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0), 0);
  }).join();
  return now;
}

// Containers may forbid it; then there is nothing to be had, and nothing breaks.
bool may_set_policy() {
  bool may = false;
  after([&may] {
    const Now batch{sizeof(Now), SCHED_BATCH, 0, 0, 0, 0, 0, 0};
    may = ::syscall(SYS_sched_setattr, 0, &batch, 0) == 0;
  });
  return may;
}

struct ThreadScheduling : testing::Test {
  void SetUp() override {
    if (!may_set_policy()) GTEST_SKIP() << "sched_setattr is forbidden here";
  }
};

bool slices_can_be_had() {
  const Now now = after([] {});
  return now.runtime != 0;  // since Linux 6.12 the kernel tells its own
}

TEST_F(ThreadScheduling, DoesNotTakeACoreFromWhoRuns) {
  EXPECT_EQ(after([] {}).policy, static_cast<std::uint32_t>(SCHED_OTHER));
  EXPECT_EQ(after(let_work_gather).policy, static_cast<std::uint32_t>(SCHED_BATCH));
}

TEST_F(ThreadScheduling, AsksForAShortSlice) {
  if (!slices_can_be_had()) GTEST_SKIP() << "this kernel has no slices of a thread's own";
  EXPECT_EQ(after(let_work_gather).runtime,
            static_cast<std::uint64_t>(std::chrono::nanoseconds(k_short_slice).count()));
}

TEST_F(ThreadScheduling, LeavesTheNiceness) {
  const Now now = after([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, 7), 0);
    let_work_gather();
  });
  EXPECT_EQ(now.policy, static_cast<std::uint32_t>(SCHED_BATCH));
  EXPECT_EQ(now.nice, 7);
}

TEST_F(ThreadScheduling, LeavesAPolicyThatTheOperatorHasSet) {
  const Now now = after([] {
    const sched_param none{};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_IDLE, &none), 0);
    let_work_gather();
  });
  EXPECT_EQ(now.policy, static_cast<std::uint32_t>(SCHED_IDLE));
}

}  // namespace
}  // namespace fieldgate
