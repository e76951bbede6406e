// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/unit/uplink/fake_disk.h"
#include "tests/unit/uplink/fakes.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::uplink {

// Keeps the events of the log, in words.
struct EventLog final : Log {
  bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view event, std::initializer_list<LogField> fields) noexcept override {
    const MutexLock lock(mutex);
    std::string line(event);
    for (const LogField& field : fields) {
      if (const auto* text = std::get_if<std::string_view>(&field.value)) line += " " + std::string(*text);
      if (const auto* number = std::get_if<std::uint64_t>(&field.value)) line += " " + std::to_string(*number);
    }
    lines.push_back(std::move(line));
  }
  bool has(std::string_view begin) const {
    const MutexLock lock(mutex);
    return std::ranges::any_of(lines, [&](const std::string& line) { return line.starts_with(begin); });
  }
  mutable Mutex mutex;
  std::vector<std::string> lines GUARDED_BY(mutex);
};

// One process over a disk that may outlive it.
struct Life {
  Life(Disk& disk, std::uint64_t blocks_max, std::vector<LaneSpec> lanes)
      : spool(disk, blocks_max * block_bytes()),
        log(spool, letters, std::move(lanes), {std::chrono::seconds(30)}, clock, events) {
    log.attach(0, sinks[0]);
    log.attach(1, sinks[1]);
  }
  Life(Disk& disk, const std::vector<Lane*>& lanes, std::uint64_t blocks_max = 1'000)
      : Life(disk, blocks_max, specs(lanes)) {}
  // recover(), take_restored() and start().
  void begin() {
    const auto recovered = log.recover();
    ASSERT_TRUE(recovered) << recovered.error().detail;
    restored = log.take_restored();
    log.start();
  }
  void submit(int blocks, std::uint32_t shard = 0) {
    for (int i = 0; i < blocks; ++i) ASSERT_TRUE(log.submit(make_block(shard, ++seq, 10, clock.ms)));
  }
  void pass(std::int64_t ms) {
    clock.ms += ms;
    log.tick();
  }

  FakeClock clock;
  EventLog events;
  DiskSpool spool;
  test::FakeDeadLetters letters;
  FakeSink sinks[2];
  UplinkLog log;
  std::vector<RestoredDevice> restored;
  std::uint64_t seq = 0;
};

}  // namespace fieldgate::uplink
