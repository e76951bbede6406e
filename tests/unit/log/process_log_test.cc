// SPDX-License-Identifier: Apache-2.0
#include "adapters/log/process_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <string>
#include <thread>
#include <vector>

namespace fieldgate {
namespace {

class FixedClock final : public Clock {
 public:
  Monotonic now() const noexcept override { return Monotonic(ms_.load()); }
  std::int64_t unix_ms() const noexcept override { return ms_.load().count(); }
  void advance(std::chrono::milliseconds by) { ms_.store(ms_.load() + by); }

 private:
  std::atomic<std::chrono::milliseconds> ms_{std::chrono::milliseconds(1'000)};
};

class Pipe {
 public:
  Pipe() {
    EXPECT_EQ(pipe(ends_.data()), 0);
    EXPECT_EQ(fcntl(ends_[1], F_SETPIPE_SZ, 4'096), 4'096);
  }
  ~Pipe() {
    close(ends_[0]);
    close_writer();
  }
  int writer() const { return ends_[1]; }
  void close_writer() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  // All lines until the writing end is closed.
  std::vector<std::string> lines() const {
    std::vector<std::string> all(1);
    std::array<char, 1'024> piece{};
    ssize_t got = 0;
    while ((got = read(ends_[0], piece.data(), piece.size())) > 0) {
      for (const char c : std::string_view(piece.data(), static_cast<std::size_t>(got))) {
        if (c == '\n') {
          all.emplace_back();
        } else {
          all.back().push_back(c);
        }
      }
    }
    all.pop_back();
    return all;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

struct Fixture {
  Pipe pipe;
  FixedClock clock;
  std::atomic<std::uint64_t> told_dropped{0};
  std::unique_ptr<ProcessLog> log;

  explicit Fixture(LogSettings settings = {}, std::size_t queue_lines_max = 64,
                   std::chrono::milliseconds patience = std::chrono::seconds(30)) {
    ProcessLogOptions options;
    options.fd = pipe.writer();
    options.clock = &clock;
    options.queue_lines_max = queue_lines_max;
    options.flush_patience = patience;
    options.on_dropped = [this](std::uint64_t count) { told_dropped += count; };
    log = make_log(settings, std::move(options));
  }
  // Ends the log and reads what it wrote.
  std::vector<std::string> finish() {
    std::vector<std::string> all;
    std::thread reader([&] { all = pipe.lines(); });
    log.reset();
    pipe.close_writer();
    reader.join();
    return all;
  }
};

std::uint64_t number_after(const std::string& line, std::string_view key) {
  const std::size_t at = line.find(key);
  std::uint64_t number = 0;
  if (at != std::string::npos) {
    std::from_chars(line.data() + at + key.size(), line.data() + line.size(), number);
  }
  return number;
}

TEST(ProcessLog, WritesEachLineInOrderAndAllAtTheEnd) {
  Fixture f;
  f.log->info("started", {{"port", 8443}});
  f.log->warn("lane_down", {{"lane", "main"}});
  EXPECT_EQ(f.finish(), (std::vector<std::string>{"ts=1970-01-01T00:00:01.000Z level=info event=started port=8443",
                                                  "ts=1970-01-01T00:00:01.000Z level=warn event=lane_down lane=main"}));
}

TEST(ProcessLog, NeverLeavesOutWhoChangedWhat) {
  Fixture f({}, 1'024);
  for (int i = 0; i < 500; ++i) f.log->info("api_write", {{"id", i}});
  EXPECT_EQ(f.finish().size(), 500U);
}

TEST(ProcessLog, LeavesOutWhatIsBelowItsLevel) {
  Fixture f;
  f.log->debug("a");
  EXPECT_FALSE(f.log->enabled(LogLevel::debug));
  f.log->set_level(LogLevel::debug);
  EXPECT_TRUE(f.log->enabled(LogLevel::debug));
  f.log->debug("b");
  f.log->set_level(LogLevel::error);
  f.log->warn("c");
  f.log->write(LogLevel::warn, "d", {});
  f.log->error("e");
  const auto lines = f.finish();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_NE(lines[0].find("event=b"), std::string::npos);
  EXPECT_NE(lines[1].find("event=e"), std::string::npos);
}

TEST(ProcessLog, SumsUpWhatItHeldBack) {
  LogSettings settings;
  settings.per_event_per_second = 2;
  Fixture f(settings);
  for (int i = 0; i < 5; ++i) f.log->info("noisy", {{"i", i}});
  f.clock.advance(std::chrono::seconds(1));
  f.log->info("quiet");
  for (int i = 0; i < 4; ++i) f.log->info("noisy");
  const auto lines = f.finish();
  ASSERT_EQ(lines.size(), 7U);
  EXPECT_EQ(lines[2], "ts=1970-01-01T00:00:02.000Z level=warn event=log_suppressed of=noisy count=3");
  EXPECT_NE(lines[3].find("event=quiet"), std::string::npos);
  // What was held back last is told at the end.
  EXPECT_EQ(lines[6], "ts=1970-01-01T00:00:02.000Z level=warn event=log_suppressed of=noisy count=2");
}

TEST(ProcessLog, NeverBlocksAndAccountsForEveryLineItDropped) {
  constexpr std::uint64_t k_lines = 500;
  LogSettings settings;
  settings.per_event_per_second = 1'000'000;
  Fixture f(settings, 16);
  const std::string filler(200, 'x');
  // Nobody reads: 4 KiB of pipe and 16 lines of queue are soon full.
  for (std::uint64_t i = 0; i < k_lines; ++i) f.log->info("flood", {{"i", i}, {"filler", filler}});
  EXPECT_GT(f.log->dropped_lines(), k_lines / 2);
  std::uint64_t written = 0;
  std::uint64_t dropped = 0;
  std::uint64_t last = 0;
  for (const std::string& line : f.finish()) {
    if (line.find("event=flood") != std::string::npos) {
      ++written;
      last = number_after(line, " i=");
    }
    if (line.find("event=log_dropped") != std::string::npos) dropped += number_after(line, "count=");
  }
  EXPECT_EQ(written + dropped, k_lines);
  EXPECT_EQ(f.told_dropped.load(), dropped);
  EXPECT_EQ(last, k_lines - 1);  // it is the oldest that go
}

TEST(ProcessLog, EndsInTimeAlthoughNobodyReads) {
  LogSettings settings;
  settings.per_event_per_second = 1'000'000;
  Fixture f(settings, 64, std::chrono::milliseconds(1));
  for (int i = 0; i < 500; ++i) f.log->info("flood", {{"filler", std::string(200, 'x')}});
  const auto began = std::chrono::steady_clock::now();
  f.log.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
}

TEST(ProcessLog, SurvivesAReaderThatHasGone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  ProcessLogOptions options;
  options.fd = ends[1];
  auto log = make_log({}, std::move(options));
  log->info("to_nobody");
  log.reset();
  close(ends[1]);
}

TEST(ProcessLog, TakesLinesFromManyThreads) {
  LogSettings settings;
  settings.per_event_per_second = 1'000'000;
  settings.format = LogFormat::json;
  Fixture f(settings, 4'096);
  std::vector<std::string> all;
  std::thread reader([&] { all = f.pipe.lines(); });
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t) {
    writers.emplace_back([&f, t] {
      for (int i = 0; i < 200; ++i) f.log->info("line", {{"thread", t}, {"i", i}});
    });
  }
  for (std::thread& writer : writers) writer.join();
  f.log.reset();
  f.pipe.close_writer();
  reader.join();
  EXPECT_EQ(all.size(), 800U);
}

}  // namespace
}  // namespace fieldgate
