// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/lmdb_spool.h"
#include "tests/integration/spool/worker_process.h"
#include "tests/unit/spool/lmdb_fixture.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>

namespace fieldgate::spool {
namespace {

class KilledSpool : public LmdbFixture {
 protected:
  // Everything from the first record kept to the last, without holes.
  void check_records(std::uint64_t durable) {
    const auto made = try_make();
    ASSERT_TRUE(made) << made.error().detail;
    LmdbSpool& spool = **made;
    const SpoolUsage usage = spool.usage();
    EXPECT_GE(usage.next.value, durable + 1);
    for (std::uint64_t at = usage.first.value; at < usage.next.value;) {
      const RecordBlockPtr block = spool.load({at}).value();
      ASSERT_NE(block, nullptr);
      ASSERT_EQ(block->first_position().value, at);
      for (std::size_t i = 0; i < block->size(); ++i) ASSERT_EQ((*block)[i].seq.value, at + i);
      at = block->last_position().value + 1;
    }
    check_letters(spool);
  }

  // The lane was completed past each record only after its dead letter was added.
  void check_letters(LmdbSpool& spool) {
    const SpoolRecovery recovery = spool.recover().value();
    if (recovery.lanes.empty()) return;
    const LogPosition completed = recovery.lanes[0].completed;
    EXPECT_LE(completed, spool.durable_through());
    std::map<std::uint64_t, int> letters;  // by sequence number
    DeadLetterQuery query;
    query.limit = 1'000'000;
    for (const DeadLetter& letter : spool.dead_letters().list(query).letters) ++letters[letter.seq.value];
    for (std::uint64_t at = 100; at <= completed.value; at += 100) ASSERT_GE(letters[at], 1) << at;
  }
};

TEST_F(KilledSpool, KeepsAllThatWasDurableInOneRunWithoutHoles) {
  std::mt19937 random(11);
  settings_.bytes_max = 64 << 20;
  settings_.dead_letter_bytes_max = 64 << 20;
  std::uint64_t durable = 0;
  int kills = 0;
  for (; kills < 12; ++kills) {
    WorkerProcess worker(settings_.dir, settings_.bytes_max, 16 << 20);
    ASSERT_EQ(worker.read_line(), "open");
    worker.send("flood");
    for (std::uint64_t lines = 1 + random() % 40; lines > 0; --lines) {
      const std::string line = worker.read_line();
      ASSERT_TRUE(line.starts_with("durable ")) << line;
      durable = std::stoull(line.substr(8));
    }
    worker.kill();
    check_records(durable);
  }
  RecordProperty("kills", kills);
  RecordProperty("durable_records", static_cast<int>(durable));
  std::printf("kills=%d durable_records=%llu lost=0\n", kills, static_cast<unsigned long long>(durable));
}

}  // namespace
}  // namespace fieldgate::spool
