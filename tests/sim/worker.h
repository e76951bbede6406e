// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "tests/sim/connection.h"
#include "tests/sim/ledger.h"
#include "tests/sim/stats.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <queue>
#include <vector>

namespace fieldgate::sim {

// What a worker is to do; only ever moves on.
enum class Order : int {
  run,
  deliver,  // make no new frames
  finish,   // say farewell and close, paced
  quit,     // cut off what is left
};

// How a worker's devices stand.
struct Snapshot {
  Stats stats;
  std::uint64_t devices = 0;
  std::uint64_t online = 0;
  std::uint64_t unacked = 0;
  std::uint64_t welcomed_ever = 0;
  std::uint64_t unfinished = 0;
  Order order = Order::quit;  // the last that was followed; of several, the earliest

  void merge(const Snapshot& other);
};

struct WorkerSettings {
  std::uint32_t first = 0;           // of the fleet's devices this worker has the share
  std::uint32_t count = 0;           // [first, first + count)
  double connects_per_second = 500;  // at the start; 0: all at once
  double closes_per_second = 3'000;  // at the end
};

// A share of the fleet on one thread with one epoll.
// Thread: run() is the thread's; order() and snapshot() may be called from any.
class Worker {
 public:
  Worker(const GatewayAddress& gateway, const DeviceSettings& devices, const WorkerSettings& settings,
         std::unique_ptr<TlsClient> tls, std::uint64_t seed);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  IoContext& io() noexcept { return io_; }

  // Returns when every device has finished.
  void run();
  void order(Order order) noexcept;
  // As of at most about a quarter of a second ago, and after the last order followed.
  Snapshot snapshot() const EXCLUDES(mutex_);
  // After run() only.
  Ledger ledger() const;

 private:
  struct Due {
    std::int64_t at_us;
    std::uint32_t slot;
    bool operator>(const Due& other) const noexcept { return at_us > other.at_us; }
  };

  void start_devices();
  void handle_events(int timeout_ms);
  void wake_due();
  void admit_queued();
  void arm(std::uint32_t slot);
  void follow_orders();
  void publish() EXCLUDES(mutex_);
  int timeout_ms() const noexcept;

  const WorkerSettings settings_;
  std::unique_ptr<TlsClient> tls_;
  IoContext io_;
  int wake_fd_ = -1;
  std::atomic<Order> wanted_{Order::run};
  Order order_ = Order::run;
  std::vector<std::unique_ptr<Connection>> connections_;
  // Lazy: a slot may be here more than once; only the entry at armed_[slot] counts.
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::vector<std::int64_t> armed_;
  std::uint32_t finish_next_ = 0;  // farewells go by slot
  std::int64_t finish_from_us_ = 0;
  std::int64_t published_us_ = 0;
  std::uint64_t unfinished_ = 0;
  mutable Mutex mutex_;
  Snapshot snapshot_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::sim
