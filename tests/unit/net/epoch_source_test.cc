// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/epoch_source.h"

#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <variant>
#include <vector>

namespace fieldgate::net {
namespace {

std::string content(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(EpochSource, EpochsRiseOverRestarts) {
  const test::TempDir dir;
  Epoch last;
  for (int start = 0; start < 5; ++start) {
    const auto source = EpochSource::make(dir.path().string(), 1'700'000'000);
    ASSERT_TRUE(source) << source.error().detail;
    for (int i = 0; i < 3; ++i) {
      const auto next = (*source)->next();
      ASSERT_TRUE(next);
      EXPECT_GT(*next, last);
      EXPECT_LE(next->value, k_epoch_max);
      last = *next;
    }
  }
}

TEST(EpochSource, LetsEveryDeviceInWithTheNextEpoch) {
  const test::TempDir dir;
  const auto source = EpochSource::make(dir.path().string(), 1'700'000'000).value();
  std::vector<Epoch> epochs;
  for (int i = 0; i < 3; ++i) {
    source->admit(DeviceId::parse("meter-1").value(), {}, [&](const AdmissionOutcome& outcome) {
      ASSERT_TRUE(std::holds_alternative<Admitted>(outcome));
      epochs.push_back(std::get<Admitted>(outcome).epoch);
      EXPECT_TRUE(std::get<Admitted>(outcome).labels.empty());
    });
  }
  ASSERT_EQ(epochs.size(), 3U) << "at once";
  EXPECT_EQ(epochs[0], source->floor());
  EXPECT_LT(epochs[0], epochs[1]);
  EXPECT_LT(epochs[1], epochs[2]);
}

TEST(EpochSource, TheFloorIsAboveAllThatEarlierProcessesGaveOut) {
  const test::TempDir dir;
  Epoch last;
  for (const std::int64_t clock : {1'700'000'000, 1'000'000'000, 1'700'009'999}) {
    const auto source = EpochSource::make(dir.path().string(), clock).value();
    EXPECT_GT(source->floor(), last);
    for (int i = 0; i < 5; ++i) last = *source->next();
  }
}

TEST(EpochSource, RisesEvenIfTheClockWasSetBack) {
  const test::TempDir dir;
  const auto first = EpochSource::make(dir.path().string(), 1'700'000'000).value()->next();
  const auto second = EpochSource::make(dir.path().string(), 1'000'000'000).value()->next();
  EXPECT_GT(*second, *first);
}

TEST(EpochSource, RisesEvenIfTheFileWasLost) {
  Epoch first;
  {
    const test::TempDir dir;
    first = *EpochSource::make(dir.path().string(), 1'700'000'000).value()->next();
  }
  const test::TempDir dir;
  EXPECT_GT(*EpochSource::make(dir.path().string(), 1'700'000'001).value()->next(), first);
}

TEST(EpochSource, OneProcessPerDirectory) {
  const test::TempDir dir;
  const auto first = EpochSource::make(dir.path().string(), 1'700'000'000);
  ASSERT_TRUE(first);
  const auto second = EpochSource::make(dir.path().string(), 1'700'000'000);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().detail.find("another gateway uses"), std::string::npos);
}

TEST(EpochSource, LeavesAForeignFileAsItIs) {
  const test::TempDir dir;
  const std::string path = dir.file("generation");
  for (const std::string text : {"hello\n", "fieldgate-generation \n", "fieldgate-generation 12",
                                 "fieldgate-generation 12x\n", "fieldgate-generation 99999999999999999999\n"}) {
    std::ofstream(path) << text;
    const auto source = EpochSource::make(dir.path().string(), 1'700'000'000);
    ASSERT_FALSE(source) << text;
    EXPECT_NE(source.error().detail.find(path), std::string::npos);
    EXPECT_EQ(content(path), text);
  }
}

TEST(EpochSource, NamesADirectoryThatCannotBeMade) {
  const auto source = EpochSource::make("/proc/fieldgate", 1'700'000'000);
  ASSERT_FALSE(source);
  EXPECT_NE(source.error().detail.find("/proc/fieldgate"), std::string::npos);
}

}  // namespace
}  // namespace fieldgate::net
