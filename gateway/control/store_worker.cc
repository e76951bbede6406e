// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/store_worker.h"

#include "gateway/ports/thread_scheduling.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace fieldgate::control {
namespace {

using std::chrono::milliseconds;

// For the transaction that is under way, once time is up.
constexpr milliseconds k_interrupt_grace{1'000};

bool is_unavailable(const Result<void>& outcome) {
  return outcome.has_error() && outcome.error().code == Errc::unavailable;
}

}  // namespace

bool StoreWorker::later(const Timer& a, const Timer& b) noexcept {
  return a.due != b.due ? a.due > b.due : a.order > b.order;
}

StoreWorker::StoreWorker(std::unique_ptr<DeviceStore> store, const Clock& clock, Log& log, StoreWorkerLimits limits)
    : store_(std::move(store)), clock_(clock), log_(log), limits_(limits), retry_(limits.retry_min) {
  status_.description = store_->description();
  status_.since_unix_ms = clock_.unix_ms();
}

StoreWorker::~StoreWorker() { stop(milliseconds(0)); }

// --- any thread

bool StoreWorker::submit(Job job, Done done) {
  {
    const MutexLock lock(mutex_);
    if (stopping_ || jobs_.size() >= limits_.jobs_max) return false;
    jobs_.push_back({std::move(job), std::move(done)});
  }
  wake_.notify_one();
  return true;
}

bool StoreWorker::post(std::function<void()> task) {
  {
    const MutexLock lock(mutex_);
    if (stopped_) return false;
    posts_.push_back(std::move(task));
  }
  wake_.notify_one();
  return true;
}

void StoreWorker::run_between(const std::function<void()>& task, milliseconds patience) {
  if (!thread_.joinable()) return task();
  std::promise<void> ran;
  const bool posted = post([&] {
    task();
    ran.set_value();
  });
  if (!posted) return task();
  const auto done = ran.get_future();
  const bool bounded = patience != milliseconds::max();
  if (bounded && done.wait_for(patience + k_interrupt_grace) != std::future_status::ready) interrupt();
  done.wait();
}

StoreStatus StoreWorker::status() const {
  const MutexLock lock(mutex_);
  StoreStatus status = status_;
  status.waiting = jobs_.size();
  return status;
}

// --- life

void StoreWorker::on_available(std::function<void()> callback) { on_available_.push_back(std::move(callback)); }

Result<void> StoreWorker::open() {
  auto opened = store_->open();
  if (opened) {
    came_back();
  } else if (is_unavailable(opened)) {
    went_down(opened.error());
  }
  return opened;
}

Result<void> StoreWorker::run_now(const Job& job) {
  if (!available()) return unavailable();
  auto outcome = transact(job);
  if (is_unavailable(outcome)) went_down(outcome.error());
  return outcome;
}

void StoreWorker::start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "store");
    let_work_gather();
    run();
    ended_.set_value();
  });
}

void StoreWorker::interrupt() {
  log_.warn("store_interrupted", {{"store", store_->description()},
                                  {"hint",
                                   "it does not answer, and the process is to end; of what is under way there "
                                   "it is not known whether it was kept"}});
  store_->interrupt();
}

void StoreWorker::stop(milliseconds patience) {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(stopping_, true)) return;
    stop_by_ = clock_.now() + patience;
  }
  wake_.notify_one();
  if (thread_.joinable()) {
    if (ended_.get_future().wait_for(patience + k_interrupt_grace) != std::future_status::ready) interrupt();
    thread_.join();
  } else {
    finish_up();
  }
}

// --- the store thread

void StoreWorker::run() {
  for (;;) {
    if (run_once()) {
      const MutexLock lock(mutex_);
      if (!stopping_) continue;
    } else {
      wait();
    }
    const MutexLock lock(mutex_);
    if (stopping_) break;
  }
  finish_up();
}

void StoreWorker::finish_up() {
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (clock_.now() >= stop_by_ || (jobs_.empty() && posts_.empty())) break;
    }
    run_posts();
    run_jobs();
  }
  fail_waiting();
  std::vector<std::function<void()>> last;
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
    last.swap(posts_);
  }
  for (const auto& task : last) task();
  timers_.clear();
}

void StoreWorker::wait() {
  const bool timed = !timers_.empty();
  const Monotonic due = timed ? timers_.front().due : Monotonic{};
  const MutexLock lock(mutex_);
  if (stopping_ || !jobs_.empty() || !posts_.empty()) return;
  if (timed) {
    wake_.wait_until(mutex_, due);
  } else {
    wake_.wait(mutex_);
  }
}

bool StoreWorker::run_once() {
  const bool timers = run_timers();
  const bool posts = run_posts();
  return run_jobs() || posts || timers;
}

void StoreWorker::after(milliseconds delay, std::function<void()> task) {
  timers_.push_back({clock_.now() + delay, timer_order_++, std::move(task)});
  std::ranges::push_heap(timers_, later);
}

bool StoreWorker::run_timers() {
  bool any = false;
  const Monotonic now = clock_.now();
  while (!timers_.empty() && timers_.front().due <= now) {
    std::ranges::pop_heap(timers_, later);
    const auto task = std::move(timers_.back().task);
    timers_.pop_back();
    task();
    any = true;
  }
  return any;
}

bool StoreWorker::run_posts() {
  std::vector<std::function<void()>> posts;
  {
    const MutexLock lock(mutex_);
    posts.swap(posts_);
  }
  for (const auto& task : posts) task();
  return !posts.empty();
}

std::vector<StoreWorker::Item> StoreWorker::take(std::size_t count) {
  std::vector<Item> taken;
  const MutexLock lock(mutex_);
  const auto end = jobs_.begin() + static_cast<std::ptrdiff_t>(std::min(count, jobs_.size()));
  taken.assign(std::move_iterator(jobs_.begin()), std::move_iterator(end));
  jobs_.erase(jobs_.begin(), end);
  return taken;
}

bool StoreWorker::run_jobs() {
  if (!available()) return fail_waiting();
  std::vector<Item> batch = take(limits_.batch_max);
  if (batch.empty()) return false;
  const Result<void> outcome = transact([&batch](DeviceStore& store) -> Result<void> {
    for (const Item& item : batch) {
      if (auto done = item.job(store); !done) return done;
    }
    return {};
  });
  if (outcome.has_value() || batch.size() == 1 || is_unavailable(outcome)) {
    finish(batch, outcome);
  } else {
    run_singly(batch);
  }
  return true;
}

void StoreWorker::run_singly(std::span<Item> batch) {
  while (!batch.empty()) {
    const Result<void> outcome = transact(batch.front().job);
    if (is_unavailable(outcome)) return finish(batch, outcome);
    finish(batch.first(1), outcome);
    batch = batch.subspan(1);
  }
}

// All or nothing of what `job` does is in the store afterwards; of an unavailable
// store that is not known.
Result<void> StoreWorker::transact(const Job& job) {
  auto outcome = store_->begin();
  if (!outcome) return outcome;
  outcome = job(*store_);
  if (outcome) outcome = store_->commit();
  if (!outcome) store_->rollback();
  return outcome;
}

void StoreWorker::finish(std::span<Item> items, const Result<void>& outcome) {
  const bool lost = is_unavailable(outcome);
  if (lost) went_down(outcome.error());
  const Result<void> told = lost ? Result<void>(unavailable()) : outcome;
  for (const Item& item : items) item.done(told);
}

bool StoreWorker::fail_waiting() {
  const std::vector<Item> items = take(limits_.jobs_max);
  const Result<void> outcome = unavailable();
  for (const Item& item : items) item.done(outcome);
  return !items.empty();
}

// --- availability

// For callers. What the store itself says may name hosts and files: that is for the log and status().
Error StoreWorker::unavailable() const {
  return make_error(Errc::unavailable, "the store cannot be reached at present: try again later");
}

void StoreWorker::went_down(const Error& error) {
  const bool news = available_.exchange(false, std::memory_order_relaxed) || !tried_;
  tried_ = true;
  {
    const MutexLock lock(mutex_);
    if (status_.available) status_.since_unix_ms = clock_.unix_ms();
    status_.available = false;
    status_.last_error = error.detail;
  }
  if (!news) return;
  log_.error("store_unavailable", {{"store", store_->description()},
                                   {"error", error.detail},
                                   {"hint", "connected devices go on; new ones are told to come back later"}});
  const bool again = back_at_ != Monotonic::min() && clock_.now() - back_at_ < limits_.retry_max;
  retry_ = again ? std::min(2 * retry_, limits_.retry_max) : limits_.retry_min;
  after(retry_, [this] { try_again(); });
}

void StoreWorker::try_again() {
  Result<void> reached = opened_ ? transact([](DeviceStore&) { return Result<void>(); }) : store_->open();
  if (reached) {
    came_back();
    back_at_ = clock_.now();
    log_.info("store_available", {{"store", store_->description()}});
    for (const auto& callback : on_available_) callback();
    return;
  }
  {
    const MutexLock lock(mutex_);
    status_.last_error = reached.error().detail;
  }
  retry_ = std::min(2 * retry_, limits_.retry_max);
  after(retry_, [this] { try_again(); });
}

void StoreWorker::came_back() {
  opened_ = tried_ = true;
  available_.store(true, std::memory_order_relaxed);
  const MutexLock lock(mutex_);
  status_.available = true;
  status_.since_unix_ms = clock_.unix_ms();
}

}  // namespace fieldgate::control
