// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/drain_door.h"

#include "tests/support/fakes.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <vector>

namespace fieldgate {
namespace {

using namespace std::chrono_literals;

class DrainDoorTest : public testing::Test {
 protected:
  DrainDoorTest() : dir_path(dir.path().string() + "/" + std::string(150, 's')) {  // longer than a socket's path may be
    std::filesystem::create_directory(dir_path);
  }

  // What somebody hears who asks, while the door's thread turns.
  Result<void> ask(std::chrono::milliseconds patience = 60s) {
    auto answer = std::async(std::launch::async, [&] {
      return ask_to_drain(dir_path, patience, [&](const DrainProgress& progress) {
        heard.push_back(progress);
        heard_some = true;
      });
    });
    io.restart();
    while (answer.wait_for(0s) != std::future_status::ready) {
      io.run_for(10ms);
      if (turn) turn();
    }
    return answer.get();
  }

  test::TempDir dir;
  std::string dir_path;
  test::SilentLog log;
  boost::asio::io_context io;
  int begun = 0;
  DrainProgress now{3, 40, false};
  std::function<void()> turn;
  std::vector<DrainProgress> heard;  // on the thread that asks, until it has its answer
  std::atomic<bool> heard_some = false;
  DrainDoor door{io, log, [this] { ++begun; }, [this] { return now; }};
};

TEST_F(DrainDoorTest, BeginsTheDrainAndTellsWhenItIsOver) {
  ASSERT_TRUE(door.open(dir_path));
  turn = [&] {
    if (begun > 0 && heard_some) now = {0, 0, true};
  };
  EXPECT_TRUE(ask());
  EXPECT_EQ(begun, 1);
  ASSERT_GE(heard.size(), 2U);
  EXPECT_EQ(heard.front().connections, 3U);
  EXPECT_EQ(heard.front().records, 40U);
  EXPECT_TRUE(heard.back().drained);
}

TEST_F(DrainDoorTest, TellsASecondOneOfADrainThatIsOver) {
  now.drained = true;
  ASSERT_TRUE(door.open(dir_path));
  EXPECT_TRUE(ask());
  EXPECT_TRUE(ask());
}

TEST_F(DrainDoorTest, IsForThisUserAlone) {
  ASSERT_TRUE(door.open(dir_path));
  struct stat status {};
  ASSERT_EQ(::stat((dir_path + "/drain").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(DrainDoorTest, WhoAsksWaitsNoLongerThanHeWants) {
  ASSERT_TRUE(door.open(dir_path));
  const auto outcome = ask(50ms);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, make_error_code(Errc::timed_out));
  EXPECT_NE(outcome.error().detail.find("3 connections and 40 records"), std::string::npos) << outcome.error().detail;
}

TEST_F(DrainDoorTest, WhoAsksHearsThatTheProcessEndedFirst) {
  ASSERT_TRUE(door.open(dir_path));
  turn = [&] {
    if (begun > 0) door.close();
  };
  const auto outcome = ask();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, make_error_code(Errc::unavailable));
}

TEST_F(DrainDoorTest, WhoAsksHearsThatNobodyIsThere) {
  const auto never = ask();
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().code, make_error_code(Errc::not_found));
  ASSERT_TRUE(door.open(dir_path));
  door.close();
  EXPECT_EQ(ask().error().code, make_error_code(Errc::not_found));
  EXPECT_FALSE(std::filesystem::exists(dir_path + "/drain"));
}

TEST_F(DrainDoorTest, OpensWhereAnEarlierProcessLeftItsSocket) {
  ASSERT_TRUE(door.open(dir_path));
  DrainDoor next{io, log, [this] { ++begun; }, [this] { return now; }};
  ASSERT_TRUE(next.open(dir_path));
  now.drained = true;
  EXPECT_TRUE(ask());
}

}  // namespace
}  // namespace fieldgate
