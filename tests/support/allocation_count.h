// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

// What is asked of the C library's heap: malloc, calloc, realloc, the aligned kinds, and so
// operator new. A program that counts names allocation_count.cc among its own sources, for
// that puts itself before the C library.
namespace fieldgate::test {

// False: a sanitizer has the heap, and nothing is counted.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool k_allocations_counted = false;
#else
inline constexpr bool k_allocations_counted = true;
#endif

// Of the calling thread alone, from the one call to the other.
void count_allocations(bool on) noexcept;
// Counted so far by the calling thread.
std::size_t allocations() noexcept;

}  // namespace fieldgate::test
