// SPDX-License-Identifier: Apache-2.0
//
// What the spool costs and how fast its writer is: records of 150 bytes in blocks of
// 1, 16 and 512, from two threads, all the way: appended, durable, read by a lane,
// given up. Beside it the memory spool with the same load, and a bare LMDB loop.
//   fieldgate_bench_spool [--quick] [RECORDS [DIR]]    default: 1,000,000 in the temporary directory
// Lines of key=value. cpu_us is of the whole process, a record: it includes making the
// blocks and reading them. records_per_s: from the first append until all are given up.
#include "adapters/spool/lmdb_spool.h"
#include "adapters/spool/memory_spool.h"
#include "gateway/core/mutex.h"

#include <lmdb.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace fieldgate::spool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t k_payload_bytes = 150;
constexpr std::size_t k_producers = 2;

class NoLog final : public Log {
 public:
  bool enabled(LogLevel level) const noexcept override { return level >= LogLevel::warn; }
  void write(LogLevel, std::string_view event, std::initializer_list<LogField>) noexcept override {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(event.size()), event.data());
  }
};

// Lets the reading thread sleep until there is news.
class Bell final : public SpoolEvents {
 public:
  void durable_advanced() override { ring(); }
  void readable() override { ring(); }
  void usage_changed() override { ring(); }
  void wait() {
    const MutexLock lock(mutex_);
    if (!rung_) bell_.wait_for(mutex_, std::chrono::milliseconds(1));
    rung_ = false;
  }

 private:
  void ring() {
    const MutexLock lock(mutex_);
    rung_ = true;
    bell_.notify_one();
  }
  Mutex mutex_;
  std::condition_variable_any bell_;
  bool rung_ GUARDED_BY(mutex_) = false;
};

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// Wall and processor time since it was made.
class Meter {
 public:
  double wall() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  double cpu() const { return cpu_now() - cpu_; }

 private:
  static double cpu_now() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
  }
  Clock::time_point begin_ = Clock::now();
  double cpu_ = cpu_now();
};

std::shared_ptr<RecordBlock> make_block(std::uint32_t shard, std::uint64_t seq, std::size_t records) {
  static const std::string payload(k_payload_bytes, 'x');
  auto block = std::make_shared<RecordBlock>(shard);
  for (std::size_t i = 0; i < records; ++i) {
    RecordView view;
    view.device = "device-00001234";
    view.stream = {1};
    view.seq = {seq + i};
    view.epoch = {1};
    view.received_unix_ms = 1'700'000'000'000;
    view.payload = std::as_bytes(std::span(payload));
    block->append(view);
  }
  block->seal();
  return block;
}

// Appends `records`; where there is no room it waits, as a device without credit does.
void produce(Spool& spool, std::uint32_t shard, std::uint64_t records, std::size_t per_block,
             std::atomic<std::uint64_t>& refusals) {
  for (std::uint64_t done = 0; done < records; done += per_block) {
    const auto block = make_block(shard, done + 1, per_block);
    while (!spool.append(block)) {
      refusals.fetch_add(1, std::memory_order_relaxed);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

struct Outcome {
  double rate = 0;
  double cpu_us = 0;
  double durable_rate = 0;
};

// A lane that takes everything, and gives it up once it is durable.
Outcome drive(Spool& spool, std::uint64_t records, std::size_t per_block, std::atomic<std::uint64_t>& refusals) {
  Bell bell;
  spool.open(bell);
  const Meter meter;
  std::vector<std::thread> producers;
  for (std::uint32_t shard = 0; shard < k_producers; ++shard) {
    producers.emplace_back([&, shard] { produce(spool, shard, records / k_producers, per_block, refusals); });
  }
  std::uint64_t next = 1;
  std::uint64_t bytes = 0;
  double durable_at = 0;
  while (spool.usage().records > 0 || next <= records) {
    const RecordBlockPtr block = next <= records ? spool.read({next}) : nullptr;
    if (block) {
      for (std::size_t i = 0; i < block->size(); ++i) bytes += (*block)[i].payload.size();
      next = block->last_position().value + 1;
      if (!spool.durable()) spool.trim({next - 1});
      continue;
    }
    if (spool.durable()) {
      spool.trim({std::min(next - 1, spool.durable_through().value)});
      if (durable_at == 0 && spool.durable_through().value == records) durable_at = meter.wall();
    }
    bell.wait();
  }
  const double wall = meter.wall();
  const double cpu = meter.cpu();
  for (std::thread& producer : producers) producer.join();
  spool.close();  // before the bell goes
  if (bytes != records * k_payload_bytes) std::exit(1);
  const auto count = static_cast<double>(records);
  return {count / wall, 1e6 * cpu / count, durable_at > 0 ? count / durable_at : 0};
}

double run_memory(std::uint64_t records, std::size_t per_block) {
  MemorySpool spool(std::uint64_t{256} << 20);
  std::atomic<std::uint64_t> refusals = 0;
  const Outcome outcome = drive(spool, records, per_block, refusals);
  std::printf("blocks_%zu.memory_records_per_s=%.0f\nblocks_%zu.memory_cpu_us=%.3f\nblocks_%zu.memory_refusals=%llu\n",
              per_block, outcome.rate, per_block, outcome.cpu_us, per_block,
              static_cast<unsigned long long>(refusals.load()));
  return outcome.cpu_us;
}

void run_lmdb(const std::string& dir, std::uint64_t records, std::size_t per_block, double memory_cpu_us) {
  const SystemClock clock;
  NoLog log;
  std::filesystem::remove_all(dir);
  auto made = LmdbSpool::make({.dir = dir}, clock, log);
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().detail.c_str());
    std::exit(1);
  }
  LmdbSpool& spool = **made;
  std::atomic<std::uint64_t> refusals = 0;
  const Outcome outcome = drive(spool, records, per_block, refusals);
  const SpoolProbe& probe = spool.probe();
  const double commits = static_cast<double>(probe.commits.get());
  const auto print = [per_block](const char* what, double value) {
    std::printf("blocks_%zu.%s=%.4g\n", per_block, what, value);
  };
  print("cpu_us", outcome.cpu_us);
  print("cpu_over_memory", outcome.cpu_us / memory_cpu_us);
  print("commit_ms", 1e-3 * static_cast<double>(probe.commit_time.sum_us()) / commits);
  std::printf("blocks_%zu.records_per_s=%.0f\nblocks_%zu.durable_per_s=%.0f\nblocks_%zu.records_per_commit=%.0f\n",
              per_block, outcome.rate, per_block, outcome.durable_rate, per_block,
              static_cast<double>(records) / commits);
  std::printf("blocks_%zu.fetched_blocks=%llu\nblocks_%zu.file_bytes=%llu\nblocks_%zu.refusals=%llu\n", per_block,
              static_cast<unsigned long long>(probe.fetched_blocks.get()), per_block,
              static_cast<unsigned long long>(probe.file_bytes.get()), per_block,
              static_cast<unsigned long long>(refusals.load()));
  std::filesystem::remove_all(dir);
}

void check(int status) {
  if (status == MDB_SUCCESS) return;
  std::fprintf(stderr, "lmdb: %s\n", ::mdb_strerror(status));
  std::exit(1);
}

// The least that LMDB can do: one record a value, 1,000 a commit.
void run_bare(const std::string& dir, std::uint64_t records) {
  constexpr std::uint64_t k_commit = 1'000;
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  MDB_env* env = nullptr;
  check(::mdb_env_create(&env));
  check(::mdb_env_set_mapsize(env, std::size_t{4} << 30));
  check(::mdb_env_open(env, dir.c_str(), MDB_NOTLS, 0600));
  const std::string payload(k_payload_bytes, 'x');
  MDB_dbi table = 0;
  const Meter append;
  for (std::uint64_t done = 0; done < records;) {
    MDB_txn* txn = nullptr;
    check(::mdb_txn_begin(env, nullptr, 0, &txn));
    check(::mdb_dbi_open(txn, nullptr, MDB_INTEGERKEY, &table));
    for (const std::uint64_t end = std::min(records, done + k_commit); done < end;) {
      std::uint64_t position = ++done;
      MDB_val key{sizeof position, &position};
      MDB_val value{payload.size(), const_cast<char*>(payload.data())};
      check(::mdb_put(txn, table, &key, &value, MDB_APPEND));
    }
    check(::mdb_txn_commit(txn));
  }
  const double append_wall = append.wall();
  const double append_cpu = append.cpu();
  const Meter drain;
  for (std::uint64_t done = 0; done < records;) {
    MDB_txn* txn = nullptr;
    check(::mdb_txn_begin(env, nullptr, 0, &txn));
    for (const std::uint64_t end = std::min(records, done + k_commit); done < end;) {
      std::uint64_t position = ++done;
      MDB_val key{sizeof position, &position};
      check(::mdb_del(txn, table, &key, nullptr));
    }
    check(::mdb_txn_commit(txn));
  }
  const auto count = static_cast<double>(records);
  std::printf("lmdb.append_per_s=%.0f\nlmdb.append_cpu_us=%.4f\nlmdb.drain_per_s=%.0f\nlmdb.drain_cpu_us=%.4f\n",
              count / append_wall, 1e6 * append_cpu / count, count / drain.wall(), 1e6 * drain.cpu() / count);
  ::mdb_env_close(env);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace fieldgate::spool

int main(int argc, char** argv) {
  using namespace fieldgate::spool;
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  if (quick) {
    ++argv;
    --argc;
  }
  const std::uint64_t wanted = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : quick ? 20'000 : 1'000'000;
  const std::uint64_t records = std::max<std::uint64_t>(wanted / 1'024, 1) * 1'024;  // whole blocks for each thread
  const std::filesystem::path base = argc > 2 ? argv[2] : std::filesystem::temp_directory_path();
  const std::string dir = base / ("fieldgate-spool-bench-" + std::to_string(::getpid()));
  std::printf("records=%llu\npayload_bytes=%zu\n", static_cast<unsigned long long>(records), k_payload_bytes);
  run_bare(dir, records);
  for (const std::size_t per_block : {1U, 16U, 512U}) {
    const double memory = run_memory(records, per_block);
    run_lmdb(dir, records, per_block, memory);
  }
  return 0;
}
