// SPDX-License-Identifier: Apache-2.0
//
// A disk that is full, fails, or cannot be written.
#include "tests/integration/spool/worker_process.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace fieldgate::spool {
namespace {

constexpr std::uint64_t k_bytes_max = std::uint64_t{1} << 30;
constexpr std::uint64_t k_memory = 8 << 20;

bool is_saved(const WorkerUsage& usage) { return usage.state == "ok" && usage.durable + 1 == usage.next; }

class SmallDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_mount()) GTEST_SKIP() << "needs to be root, with leave to mount";
    std::filesystem::create_directory(disk_);
  }
  // Until the disk is full and no more is taken.
  static void overfill(WorkerProcess& worker) {
    ASSERT_TRUE(worker.wait_for([&](const WorkerUsage& usage) {
      return worker.ask("append 1000 1000") != "appended 1000" && usage.state == "full";
    }));
  }

  test::TempDir temp_;
  const std::string disk_ = temp_.file("disk");
  const std::string spool_ = disk_ + "/spool";
};

TEST_F(SmallDisk, FullClaimsNothingAndGoesOnWhereItStoodOnceThereIsRoom) {
  WorkerProcess worker(spool_, k_bytes_max, k_memory, on_small_disk(disk_, 64));
  ASSERT_EQ(worker.read_line(), "open");
  ASSERT_EQ(worker.ask("append 1000 1000"), "appended 1000");
  ASSERT_TRUE(worker.wait_for(is_saved));
  ASSERT_EQ(worker.ask("fill"), "filled");
  overfill(worker);
  const WorkerUsage full = worker.usage();
  EXPECT_NE(full.error.find(spool_ + "/data.mdb"), std::string::npos) << full.error;
  EXPECT_NE(full.error.find("No space left on device"), std::string::npos) << full.error;
  EXPECT_LT(full.durable + 1, full.next);
  ASSERT_EQ(worker.ask("free"), "freed");
  ASSERT_TRUE(worker.wait_for(is_saved));
  const WorkerUsage after = worker.usage();
  EXPECT_EQ(after.next, full.next);
  EXPECT_EQ(after.error, "");
  EXPECT_EQ(worker.ask("check"), "checked " + std::to_string(after.records));
}

TEST_F(SmallDisk, FullGetsItsRoomBackFromWhatIsGivenUp) {
  WorkerProcess worker(spool_, k_bytes_max, k_memory, on_small_disk(disk_, 24));
  ASSERT_EQ(worker.read_line(), "open");
  ASSERT_EQ(worker.ask("append 1000 1000"), "appended 1000");
  ASSERT_EQ(worker.ask("fill"), "filled");
  // Over and over: the pages that giving up takes come back each time.
  constexpr int k_rounds = 25;
  std::uint64_t trimmed = 0;
  for (int round = 0; round < k_rounds; ++round) {
    overfill(worker);
    // The checkpoint must be able to advance, or nothing could be given up.
    const std::uint64_t durable = worker.usage().durable;
    ASSERT_EQ(worker.ask("checkpoint 1000"), "saving");
    ASSERT_TRUE(worker.wait_for([&](const WorkerUsage& usage) { return usage.checkpoint >= durable; })) << round;
    // More may wait than there is room for: it goes through bit by bit.
    ASSERT_TRUE(worker.wait_for([&](const WorkerUsage& usage) {
      trimmed = usage.durable;
      worker.ask("trim " + std::to_string(trimmed));
      return is_saved(usage);
    })) << round
        << ": " << worker.usage().error;
  }
  // What was asked for last is still being given up.
  ASSERT_TRUE(worker.wait_for([&](const WorkerUsage& usage) { return usage.first > trimmed; }));
  const WorkerUsage usage = worker.usage();
  EXPECT_EQ(worker.ask("check"), "checked " + std::to_string(usage.records));
  std::printf("rounds=%d records=%llu\n", k_rounds, static_cast<unsigned long long>(usage.next - 1));
}

TEST_F(SmallDisk, FullStillReadsAll) {
  WorkerProcess worker(spool_, k_bytes_max, k_memory, on_small_disk(disk_, 24));
  ASSERT_EQ(worker.read_line(), "open");
  ASSERT_EQ(worker.ask("fill"), "filled");
  overfill(worker);
  const WorkerUsage full = worker.usage();
  EXPECT_EQ(worker.ask("check"), "checked " + std::to_string(full.records));  // what is not durable is in memory
}

TEST_F(SmallDisk, ReadOnlyIsRefusedAtOnce) {
  WorkerProcess worker(spool_, k_bytes_max, k_memory,
                       on_small_disk(disk_, 8, "mkdir '" + spool_ + "' && mount -o remount,ro '" + disk_ + "'"));
  const std::string line = worker.read_line();
  EXPECT_NE(line.find("refused spool: " + spool_ + ": cannot be written: Read-only file system"), std::string::npos)
      << line;
}

TEST_F(SmallDisk, TooSmallForASpoolIsRefusedAtOnce) {
  WorkerProcess worker(spool_, k_bytes_max, k_memory,
                       on_small_disk(disk_, 1, "head -c 1M /dev/zero >'" + disk_ + "/ballast' || true"));
  const std::string line = worker.read_line();
  EXPECT_NE(line.find("refused"), std::string::npos) << line;
  EXPECT_NE(line.find("No space left on device"), std::string::npos) << line;
}

class FailingDisk : public testing::TestWithParam<std::string> {
 protected:
  std::string shim() const {
    const char* bin = std::getenv("FIELDGATE_BIN");
    const std::filesystem::path folder =
        bin != nullptr ? std::filesystem::path(bin) : std::filesystem::read_symlink("/proc/self/exe").parent_path();
    return folder / "libfault_disk.so";
  }

  test::TempDir temp_;
  const std::string spool_ = temp_.file("spool");
  const std::string trigger_ = temp_.file("trigger");
};

TEST_P(FailingDisk, IsNeverTrustedAgain) {
  std::uint64_t durable = 0;
  {
    WorkerProcess worker(spool_, k_bytes_max, k_memory, {},
                         {"LD_PRELOAD=" + shim(), "FAULT_DISK_TRIGGER=" + trigger_, "FAULT_DISK_CALLS=" + GetParam(),
                          "FAULT_DISK_PATH=data.mdb", "ASAN_OPTIONS=verify_asan_link_order=0"});
    ASSERT_EQ(worker.read_line(), "open");
    ASSERT_EQ(worker.ask("append 100 100"), "appended 100");
    ASSERT_TRUE(worker.wait_for(is_saved));
    durable = worker.usage().durable;
    std::ofstream(trigger_) << "now";
    ASSERT_EQ(worker.ask("append 100 100"), "appended 100");
    ASSERT_TRUE(worker.wait_for([](const WorkerUsage& usage) { return usage.state == "failed"; }));
    const WorkerUsage failed = worker.usage();
    EXPECT_EQ(failed.durable, durable);
    EXPECT_NE(failed.error.find(spool_ + "/data.mdb: Input/output error"), std::string::npos) << failed.error;
    std::filesystem::remove(trigger_);  // works again, as it would after a retry
    EXPECT_EQ(worker.ask("append 100 100"), "appended 0");
    EXPECT_EQ(worker.ask("checkpoint 10"), "saving");
    EXPECT_EQ(worker.ask("check"), "checked 200");  // what is in memory can be read
    const WorkerUsage after = worker.usage();
    EXPECT_EQ(after.state, "failed");
    EXPECT_EQ(after.durable, durable);
    EXPECT_EQ(after.checkpoint, 0U);
    worker.finish();
  }
  WorkerProcess again(spool_, k_bytes_max, k_memory);
  ASSERT_EQ(again.read_line(), "open");
  const WorkerUsage found = again.usage();
  EXPECT_EQ(found.state, "ok");
  EXPECT_GE(found.durable, durable);
  EXPECT_EQ(again.ask("check"), "checked " + std::to_string(found.records));
}

INSTANTIATE_TEST_SUITE_P(Calls, FailingDisk, testing::Values("fsync,fdatasync", "pwrite,write,writev"),
                         [](const auto& of) { return of.index == 0 ? "sync" : "write"; });

}  // namespace
}  // namespace fieldgate::spool
