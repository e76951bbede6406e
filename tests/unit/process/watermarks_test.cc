// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/watermarks.h"

#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace fieldgate {
namespace {

TEST(Watermark, IsOverAboveTheHighMarkUntilTheUseIsAtTheLowOne) {
  Watermark mark;
  EXPECT_FALSE(mark.look(900, 1'000, 90, 80));
  EXPECT_TRUE(mark.look(901, 1'000, 90, 80));
  EXPECT_TRUE(mark.look(850, 1'000, 90, 80));
  EXPECT_TRUE(mark.look(801, 1'000, 90, 80));
  EXPECT_FALSE(mark.look(800, 1'000, 90, 80));
  EXPECT_FALSE(mark.look(900, 1'000, 90, 80));
}

TEST(Watermark, IsNeverOverWithoutALimitOrWithAMarkOfAHundred) {
  Watermark mark;
  EXPECT_FALSE(mark.look(1'000, 0, 90, 80));
  EXPECT_FALSE(mark.look(2'000, 1'000, 100, 80));
}

TEST(Watermark, StaysAsItWasWhileTheUseIsNotKnown) {
  Watermark mark;
  EXPECT_TRUE(mark.look(1'000, 1'000, 90, 80));
  EXPECT_TRUE(mark.look(0, 1'000, 90, 80));
}

TEST(Watermark, GoesByLargeLimits) {
  Watermark mark;
  EXPECT_TRUE(mark.look(std::uint64_t{1} << 60, std::uint64_t{1} << 60, 99, 98));
}

TEST(Watermarks, MemorySettingGoesBeforeTheControlGroup) {
  LimitSettings limits;
  ResourceUse use;
  use.memory_bytes = 95;
  use.memory_bytes_max = 100;
  Watermarks marks;
  marks.look(use, limits);
  EXPECT_TRUE(marks.memory());
  limits.memory_bytes_max = 1'000;
  marks.look(use, limits);
  EXPECT_FALSE(marks.memory());
  EXPECT_FALSE(marks.descriptors());
}

TEST(Watermarks, DescriptorsAreOverAboveTheHighMarkUntilTheyAreAtTheLowOne) {
  const LimitSettings limits;  // 95 and 90 of 100
  Watermarks marks;
  const auto over = [&](std::uint64_t descriptors) {
    ResourceUse use;
    use.descriptors = descriptors;
    use.descriptors_max = 100;
    marks.look(use, limits);
    EXPECT_FALSE(marks.memory());
    return marks.descriptors();
  };
  EXPECT_FALSE(over(95));
  EXPECT_TRUE(over(96));
  EXPECT_TRUE(over(92));
  EXPECT_FALSE(over(90));
  EXPECT_FALSE(over(92));
}

TEST(Watermarks, SayWhatMemoryIsHeldAgainst) {
  Watermarks marks;
  EXPECT_EQ(marks.memory_bytes(), 0U);
  LimitSettings limits;
  ResourceUse use;
  use.memory_bytes = 95;
  use.memory_bytes_max = 100;
  marks.look(use, limits);
  EXPECT_EQ(marks.memory_bytes(), 95U);
  EXPECT_EQ(marks.memory_bytes_max(), 100U);
  limits.memory_bytes_max = 1'000;
  marks.look(use, limits);
  EXPECT_EQ(marks.memory_bytes_max(), 1'000U);
  limits.memory_bytes_max = 0;
  use.memory_bytes_max = 0;
  marks.look(use, limits);
  EXPECT_EQ(marks.memory_bytes_max(), 0U) << "there is no limit";
}

constexpr std::size_t k_mib = std::size_t{1} << 20;

std::uint64_t resident() {
  std::ifstream in("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t pages = 0;
  in >> size >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// A lane that reads a spool back after an outage.
TEST(ResourceUse, DoesNotCountPagesOfFilesThatTheKernelCanTakeAway) {
  const test::TempDir dir;
  const std::string file = dir.write("spool", std::string(64 * k_mib, 's'));
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const std::uint64_t before = resource_use().memory_bytes;
  const std::uint64_t resident_before = resident();
  // The kernel touches every page: a read from here would cost shadow memory under TSan.
  void* const map = ::mmap(nullptr, 64 * k_mib, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  ::close(fd);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_GT(resident(), resident_before + 60 * k_mib) << "or nothing is shown here";
  EXPECT_LT(resource_use().memory_bytes, before + 4 * k_mib);
  ::munmap(map, 64 * k_mib);
}

TEST(ResourceUse, CountsWhatIsAllocated) {
  const std::uint64_t before = resource_use().memory_bytes;
  const std::vector<char> held(64 * k_mib, 'h');
  EXPECT_GT(resource_use().memory_bytes, before + 60 * k_mib);
  EXPECT_EQ(held.back(), 'h');
}

TEST(ResourceUse, KnowsAboutThisProcess) {
  const ResourceUse use = resource_use();
  EXPECT_GT(use.memory_bytes, 100'000U);
  EXPECT_GE(use.descriptors, 3U);
  EXPECT_LT(use.descriptors, 1'000U);
}

// A folder as control groups are mounted.
struct Groups {
  test::TempDir dir;
  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((std::filesystem::path(dir.path()) / file).parent_path());
    dir.write(file, text);
  }
  std::uint64_t limit(const char* groups) { return cgroup_memory_limit(dir.path().c_str(), groups); }
};

TEST(CgroupMemoryLimit, IsTheLeastOfTheGroupsAround) {
  Groups groups;
  groups.write("pods/pod/container/memory.max", "max\n");
  groups.write("pods/pod/memory.max", "536870912\n");
  groups.write("pods/memory.max", "1073741824\n");
  EXPECT_EQ(groups.limit("0::/pods/pod/container\n"), 536'870'912U);
}

TEST(CgroupMemoryLimit, IsFoundWhereTheContainerSeesItsOwnGroupAlone) {
  Groups groups;
  groups.write("memory.max", "536870912\n");
  EXPECT_EQ(groups.limit("0::/\n"), 536'870'912U);
  EXPECT_EQ(groups.limit("0::/../../elsewhere\n"), 536'870'912U);
}

TEST(CgroupMemoryLimit, IsReadInVersionOneToo) {
  Groups groups;
  groups.write("memory/docker/x/memory.limit_in_bytes", "268435456\n");
  groups.write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(groups.limit("5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n"), 268'435'456U);
}

TEST(CgroupMemoryLimit, IsNoneWhereNobodySetsOne) {
  Groups groups;
  groups.write("memory.max", "max\n");
  EXPECT_EQ(groups.limit("0::/\n"), 0U);
  EXPECT_EQ(groups.limit("nonsense\n\n:\n"), 0U);
}

}  // namespace
}  // namespace fieldgate
