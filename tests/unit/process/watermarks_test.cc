// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/watermarks.h"

#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <filesystem>

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
