// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

// Clang's thread-safety analysis (-Werror=thread-safety) proves that what is
// GUARDED_BY a Mutex is touched only while it is held. Nothing for gcc.
#if defined(__clang__)
#define FIELDGATE_TSA(x) __attribute__((x))
#else
#define FIELDGATE_TSA(x)
#endif
#define CAPABILITY(x) FIELDGATE_TSA(capability(x))
#define SCOPED_CAPABILITY FIELDGATE_TSA(scoped_lockable)
#define GUARDED_BY(x) FIELDGATE_TSA(guarded_by(x))
#define REQUIRES(...) FIELDGATE_TSA(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) FIELDGATE_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) FIELDGATE_TSA(release_capability(__VA_ARGS__))
#define EXCLUDES(...) FIELDGATE_TSA(locks_excluded(__VA_ARGS__))

namespace fieldgate {

// A std::mutex that the analysis understands. Held for a few instructions only,
// never across a wait or a callback.
class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace fieldgate
