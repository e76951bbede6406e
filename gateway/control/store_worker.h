// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/device_store.h"
#include "gateway/ports/log.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <thread>
#include <vector>

namespace fieldgate::control {

struct StoreWorkerLimits {
  std::size_t jobs_max = 65'536;  // waiting
  std::size_t batch_max = 512;    // jobs in one transaction
  // Between two attempts to reach a store that is unavailable: doubles from one to the other,
  // also where it was reached for less than the longest (a full disk lets one read).
  std::chrono::milliseconds retry_min{200};
  std::chrono::milliseconds retry_max{10'000};
};

// The store's thread. Takes what waits, runs it in one transaction and commits that
// once for all of it; then calls the completions, in order. A batch in which one job
// fails is rolled back, and each of its jobs run again in a transaction of its own.
// Once the store is unavailable, what waits and what comes fails with
// Errc::unavailable at once, until an attempt to reach it succeeds.
// Thread: any, except where noted. "Store thread" is the thread that start() makes;
//         before start() and after stop(), and in tests, whoever calls.
// Owns:   the store. Borrows: clock and log.
// Bounds: jobs_max jobs. Posts and timers are few: their callers see to that.
class StoreWorker {
 public:
  // May run more than once, and its changes may be rolled back after it has succeeded:
  // it touches the store and its own captures alone, and sets these anew at its start.
  // What it finds wrong before it has written anything (not there, not this revision) is
  // better kept in the captures than returned: an error undoes the batch.
  using Job = std::function<Result<void>(DeviceStore&)>;
  // Once, on the store thread: after the commit, or why there was none. Of an
  // unavailable store it is not known whether it has taken the changes.
  using Done = std::function<void(const Result<void>&)>;

  StoreWorker(std::unique_ptr<DeviceStore> store, const Clock& clock, Log& log, StoreWorkerLimits limits = {});
  // Stops with no patience, if stop() was not called.
  ~StoreWorker();
  StoreWorker(const StoreWorker&) = delete;
  StoreWorker& operator=(const StoreWorker&) = delete;

  // Never waits. False, and `done` is not called: too much waits, or it was stopped.
  bool submit(Job job, Done done);
  // Runs on the store thread between transactions, before the jobs that wait. Never
  // waits. False: it was stopped, and `task` will not run.
  bool post(std::function<void()> task);
  // Runs `task` as post() does, and waits for that; here, if there is no thread. Not on
  // the store thread. What the thread does at the store is cut off a second
  // after `patience`.
  void run_between(const std::function<void()>& task,
                   std::chrono::milliseconds patience = std::chrono::milliseconds::max());
  // Runs `task` once that time has passed by the clock. Store thread; dropped by stop().
  void after(std::chrono::milliseconds delay, std::function<void()> task);
  // Called on the store thread whenever the store can be reached again (not at the
  // start). Before start().
  void on_available(std::function<void()> callback);

  // Opens the store; waits. Errors: the store's. Unavailable: start() is allowed all
  // the same, and the store is opened once it can be reached.
  Result<void> open();
  // Runs a job in a transaction of its own; waits. Before start() or after stop().
  Result<void> run_now(const Job& job);
  void start();
  // Runs what waits, for at most `patience`, fails the rest with Errc::unavailable, and joins the
  // thread. A store that does not answer is interrupted a second later.
  void stop(std::chrono::milliseconds patience);
  // What the thread does in one turn: due timers, posts, one batch. True if there was
  // anything to do. For tests, which have no thread.
  bool run_once();

  StoreStatus status() const;
  // As in status(), with no lock.
  bool available() const noexcept { return available_.load(std::memory_order_relaxed); }

 private:
  struct Item {
    Job job;
    Done done;
  };
  struct Timer {
    Monotonic due;
    std::uint64_t order;
    std::function<void()> task;
  };
  static bool later(const Timer& a, const Timer& b) noexcept;

  void interrupt();
  void run();
  void wait();
  void finish_up();
  bool run_timers();
  bool run_posts();
  bool run_jobs();
  std::vector<Item> take(std::size_t count);
  Result<void> transact(const Job& job);
  void run_singly(std::span<Item> batch);
  void finish(std::span<Item> items, const Result<void>& outcome);
  bool fail_waiting();
  void went_down(const Error& error);
  void came_back();
  void try_again();
  Error unavailable() const;

  const std::unique_ptr<DeviceStore> store_;
  const Clock& clock_;
  Log& log_;
  const StoreWorkerLimits limits_;
  std::vector<std::function<void()>> on_available_;  // fixed by start()
  std::atomic<bool> available_{false};

  // The store thread's.
  bool opened_ = false;
  bool tried_ = false;  // to open it
  std::chrono::milliseconds retry_;
  Monotonic back_at_ = Monotonic::min();  // it was reached again
  std::vector<Timer> timers_;             // a heap
  std::uint64_t timer_order_ = 0;

  mutable Mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Item> jobs_ GUARDED_BY(mutex_);
  std::vector<std::function<void()>> posts_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool stopped_ GUARDED_BY(mutex_) = false;
  Monotonic stop_by_ GUARDED_BY(mutex_);
  StoreStatus status_ GUARDED_BY(mutex_);

  std::promise<void> ended_;  // by the thread
  std::thread thread_;
};

}  // namespace fieldgate::control
