// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/run.h"

#include "tests/sim/report.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <thread>

namespace fieldgate::sim {
namespace {

constexpr std::int64_t k_start_patience_us = 10 * k_second_us;
constexpr std::int64_t k_close_patience_us = 8 * k_second_us;

// SIGINT and SIGTERM, taken in turn with waiting instead of in a handler.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
  }
  // Waits for a signal for at most `us`; how many have come so far.
  int wait(std::int64_t us) {
    timespec time{};
    time.tv_sec = us / k_second_us;
    time.tv_nsec = (us % k_second_us) * 1000;
    if (sigtimedwait(&set_, nullptr, &time) > 0) ++count_;
    return count_;
  }

 private:
  sigset_t set_;
  int count_ = 0;
};

int problem(const std::string& text) {
  std::cerr << "fieldgate-sim: " << text << std::endl;
  return k_exit_problem;
}

void raise_descriptor_limit(std::uint32_t devices) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (devices + 50 > limit.rlim_cur) {
    std::cerr << "fieldgate-sim: " << devices << " devices do not fit under " << limit.rlim_cur
              << " descriptors; start several processes with --first-index\n";
  }
}

// The verifying subscriber on a thread of its own, while the fleet runs.
class VerifyThread {
 public:
  explicit VerifyThread(const BrokerSettings& broker) : subscriber_(broker) {}
  ~VerifyThread() { stop(); }
  VerifyThread(const VerifyThread&) = delete;
  VerifyThread& operator=(const VerifyThread&) = delete;

  Outcome<void> start() {
    auto started = subscriber_.start(k_start_patience_us);
    if (!started) return started;
    thread_ = std::thread([this] {
      while (!stopping_.load(std::memory_order_relaxed)) subscriber_.poll(100);
    });
    return {};
  }
  // The subscriber is the caller's from now on.
  MqttSubscriber& stop() {
    stopping_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) thread_.join();
    return subscriber_;
  }
  std::uint64_t records() const noexcept { return subscriber_.records(); }

 private:
  MqttSubscriber subscriber_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Reads on until nothing that `ledger` claims is missing, or nothing has come
// for `settle_us`.
void settle(MqttSubscriber& subscriber, const Ledger& ledger, std::int64_t settle_us, Signals& signals) {
  std::uint64_t seen = subscriber.records();
  std::int64_t since = read_clocks().mono_us;
  std::int64_t judged = 0;
  while (true) {
    const std::int64_t now = read_clocks().mono_us;
    if (subscriber.records() != seen) {
      seen = subscriber.records();
      since = now;
    }
    if (now - judged >= k_second_us / 5) {
      if (subscriber.reader().tally().judge(ledger).lost == 0 || now - since >= settle_us) return;
      if (signals.wait(0) > 1) return;  // the second one: do not wait for anything
      judged = now;
    }
    subscriber.poll(50);
  }
}

// A line a second on how it goes.
class Progress {
 public:
  Progress(bool wanted, double every_s)
      : terminal_(isatty(STDERR_FILENO) == 1), on_(wanted || terminal_), every_(every_s) {}
  ~Progress() {
    if (on_ && terminal_ && printed_) std::fputc('\n', stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(double elapsed, const Snapshot& fleet, const VerifyThread* verify) {
    if (!on_ || elapsed - at_ < every_) return;
    const double span = elapsed - at_;
    const auto rate = [span](std::uint64_t now, std::uint64_t& before) {
      const double per_second = static_cast<double>(now - before) / span;
      before = now;
      return per_second;
    };
    const double sent = rate(fleet.stats.frames_sent, sent_);
    const double acked = rate(fleet.stats.frames_acked, acked_);
    char mqtt[40] = "";
    if (verify != nullptr) std::snprintf(mqtt, sizeof mqtt, "  mqtt/s %.0f", rate(verify->records(), records_));
    std::fprintf(
        stderr,
        "%s%5.0f s  connected %llu/%llu  sent/s %.0f  acked/s %.0f%s  unacked %llu  reconnects %llu  failures %llu%s",
        terminal_ ? "\r\033[K" : "", elapsed, ull(fleet.online), ull(fleet.devices), sent, acked, mqtt,
        ull(fleet.unacked), ull(fleet.stats.reconnects), ull(fleet.stats.failures()), terminal_ ? "" : "\n");
    std::fflush(stderr);
    at_ = elapsed;
    printed_ = true;
  }

 private:
  static unsigned long long ull(std::uint64_t value) noexcept { return value; }

  const bool terminal_;
  const bool on_;
  const double every_;
  double at_ = 0;
  bool printed_ = false;
  std::uint64_t sent_ = 0;
  std::uint64_t acked_ = 0;
  std::uint64_t records_ = 0;
};

int conclude(const Report& report, const std::string& json_file) {
  if (!json_file.empty() && json_file != "-") {
    std::ofstream out(json_file, std::ios::trunc);
    out << to_json(report);
    if (!out.flush()) return problem("cannot write " + json_file);
  }
  if (json_file == "-") std::cout << to_json(report);
  std::cout << to_text(report) << std::flush;
  return fault(report).empty() ? k_exit_ok : k_exit_fault;
}

// Sees the fleet through its life: running, delivering, farewell.
class Conductor {
 public:
  Conductor(const RunSettings& settings, Fleet& fleet, Signals& signals, const VerifyThread* verify)
      : settings_(settings), fleet_(fleet), signals_(signals), verify_(verify), progress_(settings.progress, 0.95) {}

  void conduct() {
    const std::int64_t until =
        settings_.seconds > 0 ? start_us_ + static_cast<std::int64_t>(settings_.seconds * 1e6) : k_never_us;
    wait(until, 0, [](const Snapshot&) { return false; });
    const int seen = signals_.wait(0);
    const std::int64_t stopped_us = read_clocks().mono_us;
    fleet_.order(Order::deliver);
    const double grace = seen > 0 ? settings_.signal_grace_seconds : settings_.grace_seconds;
    wait(stopped_us + static_cast<std::int64_t>(grace * 1e6), seen,
         [](const Snapshot& now) { return now.order >= Order::deliver && now.unacked == 0; });
    unacked_at_end_ = fleet_.snapshot().unacked;
    fleet_.order(Order::finish);
    const std::int64_t paced_us = std::int64_t{settings_.fleet.count} * k_second_us / 3'000;
    wait(read_clocks().mono_us + k_close_patience_us + paced_us, std::max(seen, 1),
         [](const Snapshot& now) { return now.unfinished == 0; });
    fleet_.order(Order::quit);
    fleet_.join();
  }

  double seconds() const noexcept { return static_cast<double>(read_clocks().mono_us - start_us_) / 1e6; }
  std::uint64_t online_peak() const noexcept { return online_peak_; }
  std::uint64_t unacked_at_end() const noexcept { return unacked_at_end_; }

 private:
  // Until `done`, or `until_us`, or more signals than `ignored` have come.
  template <class Done>
  void wait(std::int64_t until_us, int ignored, const Done& done) {
    while (true) {
      const Snapshot now = fleet_.snapshot();
      online_peak_ = std::max(online_peak_, now.online);
      progress_.show(seconds(), now, verify_);
      const std::int64_t left = until_us - read_clocks().mono_us;
      if (done(now) || left <= 0) return;
      if (signals_.wait(std::min<std::int64_t>(left, k_second_us / 10)) > ignored) return;
    }
  }

  const RunSettings& settings_;
  Fleet& fleet_;
  Signals& signals_;
  const VerifyThread* verify_;
  Progress progress_;
  const std::int64_t start_us_ = read_clocks().mono_us;
  std::uint64_t online_peak_ = 0;
  std::uint64_t unacked_at_end_ = 0;
};

}  // namespace

int run_fleet(const RunSettings& settings) {
  Signals signals;
  raise_descriptor_limit(settings.fleet.count);
  if (!settings.ledger_file.empty()) std::remove(settings.ledger_file.c_str());
  std::unique_ptr<VerifyThread> verify;
  if (settings.verify) {
    verify = std::make_unique<VerifyThread>(*settings.verify);
    if (auto started = verify->start(); !started) return problem(started.error().text);
  }
  auto fleet = Fleet::make(settings.fleet);
  if (!fleet) return problem(fleet.error().text);
  (*fleet)->start();
  Report report;
  {
    Conductor conductor(settings, **fleet, signals, verify.get());
    conductor.conduct();
    report.seconds = conductor.seconds();
    report.online_peak = conductor.online_peak();
    report.unacked_at_end = conductor.unacked_at_end();
  }
  const Ledger ledger = (*fleet)->ledger();
  if (!settings.ledger_file.empty()) {
    if (auto written = write_ledger(settings.ledger_file, ledger); !written) return problem(written.error().text);
  }
  report.profile = settings.profile_name;
  report.devices = ledger.devices;
  report.frames_sent = ledger.frames_sent;
  report.frames_acked = ledger.frames_acked;
  report.fleet = (*fleet)->snapshot();
  report.sends_data = settings.fleet.devices.profile != Profile::silent;
  report.require_order = settings.require_order;
  if (verify) {
    MqttSubscriber& subscriber = verify->stop();
    settle(subscriber, ledger, static_cast<std::int64_t>(settings.settle_seconds * 1e6), signals);
    report.verify = make_verify_report(subscriber, ledger);
    subscriber.finish();
  }
  return conclude(report, settings.json_file);
}

int run_verify(const VerifySettings& settings) {
  Signals signals;
  MqttSubscriber subscriber(settings.broker);
  if (auto started = subscriber.start(k_start_patience_us); !started) return problem(started.error().text);
  std::cerr << "fieldgate-sim: subscribed to " << settings.broker.prefix << std::endl;
  if (!settings.ready_file.empty()) std::ofstream(settings.ready_file) << "ready\n";
  const std::int64_t start = read_clocks().mono_us;
  Ledger ledger;
  std::vector<std::string> waiting = settings.ledger_files;
  std::int64_t looked = 0;
  while (!waiting.empty()) {
    subscriber.poll(50);
    const std::int64_t now = read_clocks().mono_us;
    if (now - looked < k_second_us / 5) continue;
    looked = now;
    if (::access(waiting.back().c_str(), F_OK) == 0) {
      auto read = read_ledger(waiting.back());
      if (!read) return problem(read.error().text);
      ledger.append(std::move(*read));
      waiting.pop_back();
      continue;
    }
    const bool late = settings.wait_seconds > 0 && static_cast<double>(now - start) / 1e6 >= settings.wait_seconds;
    if (late || signals.wait(0) > 0) return problem("there is no ledger " + waiting.back());
  }
  settle(subscriber, ledger, static_cast<std::int64_t>(settings.settle_seconds * 1e6), signals);
  Report report;
  report.profile = "verify";
  report.seconds = static_cast<double>(read_clocks().mono_us - start) / 1e6;
  report.devices = ledger.devices;
  report.frames_sent = ledger.frames_sent;
  report.frames_acked = ledger.frames_acked;
  report.sends_data = ledger.frames_sent > 0;
  report.require_order = settings.require_order;
  report.verify = make_verify_report(subscriber, ledger);
  subscriber.finish();
  return conclude(report, settings.json_file);
}

}  // namespace fieldgate::sim
