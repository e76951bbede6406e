// SPDX-License-Identifier: Apache-2.0
#include "adapters/log/process_log.h"

#include "adapters/log/event_limiter.h"
#include "adapters/log/fd_sink.h"
#include "adapters/log/line.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>

#include <atomic>
#include <utility>

namespace fieldgate {
namespace {

constexpr std::string_view k_audit = "api_write";

class SpdlogLog final : public ProcessLog {
 public:
  SpdlogLog(const LogSettings& settings, ProcessLogOptions options)
      : options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : system_clock_),
        format_(settings.format),
        level_(settings.level),
        limiter_(settings.per_event_per_second),
        sink_(std::make_shared<FdSink>(options_.fd, [this](const FdSink::Write& write) { tell_dropped(write); })),
        pool_(std::make_shared<spdlog::details::thread_pool>(options_.queue_lines_max, 1)),
        queue_(pool_.get()),
        logger_(std::make_shared<spdlog::async_logger>("fieldgate", sink_, pool_,
                                                       spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_level(spdlog::level::trace);  // enabled() decides
  }

  ~SpdlogLog() override {
    tell_suppressed(limiter_.rest());
    sink_->stop_waiting(std::chrono::steady_clock::now() + options_.flush_patience);
    // Joins the logging thread, which may still use all the other members.
    pool_.reset();
  }

  bool enabled(LogLevel level) const noexcept override { return level >= level_.load(std::memory_order_relaxed); }
  void set_level(LogLevel level) noexcept override { level_.store(level, std::memory_order_relaxed); }

  std::uint64_t dropped_lines() const noexcept override { return lost_outright_.load() + queue_->overrun_counter(); }

  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) noexcept override {
    if (!enabled(level)) return;
    try {
      // Who changed what is never left out, whoever else changes something at the time.
      if (event == k_audit) return queue(level, event, fields);
      const EventLimiter::Verdict verdict = limiter_.ask(event, clock_.now());
      tell_suppressed(verdict.summaries);
      if (verdict.pass) queue(level, event, fields);
    } catch (...) {
      // Out of memory: a line less, and counted.
      lost_outright_.fetch_add(1);
    }
  }

 private:
  std::string line(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) const {
    return log_line::format(format_, clock_.unix_ms(), level, event, fields);
  }

  void queue(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
    const std::string text = line(level, event, fields);
    logger_->log(spdlog::level::info, spdlog::string_view_t(text.data(), text.size()));
  }

  void tell_suppressed(const std::vector<EventLimiter::Suppressed>& summaries) {
    for (const EventLimiter::Suppressed& summary : summaries) {
      queue(LogLevel::warn, "log_suppressed", {{"of", summary.event}, {"count", summary.count}});
    }
  }

  // On the logging thread, where the lines that were lost would have been.
  void tell_dropped(const FdSink::Write& write) {
    const std::uint64_t dropped = dropped_lines();
    if (dropped == told_) return;
    const std::uint64_t count = dropped - std::exchange(told_, dropped);
    write(line(LogLevel::warn, "log_dropped", {{"count", count}}));
    if (options_.on_dropped) options_.on_dropped(count);
  }

  const ProcessLogOptions options_;
  const SystemClock system_clock_;
  const Clock& clock_;
  const LogFormat format_;
  std::atomic<LogLevel> level_;
  EventLimiter limiter_;
  std::atomic<std::uint64_t> lost_outright_{0};
  std::uint64_t told_ = 0;  // logging thread
  std::shared_ptr<FdSink> sink_;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  // The pool once more: the logging thread asks it while pool_ is being reset.
  spdlog::details::thread_pool* const queue_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

}  // namespace

std::unique_ptr<ProcessLog> make_log(const LogSettings& settings, ProcessLogOptions options) {
  return std::make_unique<SpdlogLog>(settings, std::move(options));
}

}  // namespace fieldgate
