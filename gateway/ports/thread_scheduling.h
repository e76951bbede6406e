// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace fieldgate {

// Asks the kernel how to share the cores out to the calling thread, and to those that it starts. For a thread that
// takes whatever has gathered, is done with it in a short time, and pays for each time it is woken:
// - Once woken, it does not take the core from a thread that runs (SCHED_BATCH). So, while no core is free, more
//   gathers, and each wake-up is shared by more.
// - When a core is given away next, it comes before threads that ask for more at a time (a slice of k_short_slice). So
//   those that wait for it, and for the locks that it holds, do not wait for all others' slices.
// Nothing changes while cores are free, nor about a thread's share of them. A policy that the operator has given the
// process stays, and a kernel that refuses is let be: it is about speed alone.
// Source: sched(7); sched_setattr(2), with Linux 6.12 for the slice.
inline constexpr std::chrono::microseconds k_short_slice{300};
void let_work_gather() noexcept;

}  // namespace fieldgate
