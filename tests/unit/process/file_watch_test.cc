// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/file_watch.h"

#include "tests/support/fakes.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace fieldgate {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// The watch on the test's own thread.
class FileWatchTest : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return dir.path().string() + "/" + name; }
  // Until it has said so once more. Never, if it does not: then the test hangs and is ended.
  void wait_change() {
    for (const int before = changes; changes == before;) io.run_one();
  }
  // What is there to be told of is told before this.
  void write_and_wait_for(const std::string& canary) {
    dir.write(canary, std::to_string(changes));
    wait_change();
  }
  static constexpr FileWatch::Pace k_pace{10ms, 1h};

  test::TempDir dir;
  test::SilentLog log;
  boost::asio::io_context io;
  int changes = 0;
  FileWatch watch{io, log, k_pace, [this] { ++changes; }};
};

TEST_F(FileWatchTest, SeesAFileWrittenInPlace) {
  dir.write("a", "1");
  watch.watch({at("a")});
  dir.write("a", "22");
  wait_change();
}

TEST_F(FileWatchTest, SeesAFileReplacedByRename) {
  dir.write("a", "1");
  watch.watch({at("a")});
  dir.write("a.new", "2");
  fs::rename(at("a.new"), at("a"));
  wait_change();
}

TEST_F(FileWatchTest, SeesALinkOnTheWayExchangedAsKubernetesDoes) {
  for (const char* version : {"..1", "..2", "..3"}) {
    fs::create_directory(at(version));
    dir.write(std::string(version) + "/tls.crt", version);
  }
  const auto point_to = [&](const char* version) {
    fs::create_directory_symlink(version, at("..data_tmp"));
    fs::rename(at("..data_tmp"), at("..data"));
  };
  point_to("..1");
  fs::create_symlink("..data/tls.crt", at("tls.crt"));
  watch.watch({at("tls.crt")});
  point_to("..2");
  wait_change();
  fs::remove_all(at("..1"));
  point_to("..3");
  wait_change();
}

TEST_F(FileWatchTest, SeesAFolderOnTheWayExchanged) {
  for (const char* version : {"v1", "v2"}) {
    fs::create_directory(at(version));
    dir.write(std::string(version) + "/key", version);
  }
  fs::create_directory_symlink("v1", at("current"));
  watch.watch({at("current/key")});
  fs::create_directory_symlink("v2", at("next"));
  fs::rename(at("next"), at("current"));
  wait_change();
}

TEST_F(FileWatchTest, SeesAFileComeAndGo) {
  watch.watch({at("late")});
  dir.write("late", "1");
  wait_change();
  fs::remove(at("late"));
  wait_change();
}

TEST_F(FileWatchTest, SaysNothingOfOtherFilesInTheFolder) {
  dir.write("a", "1");
  dir.write("other", "1");
  watch.watch({at("a")});
  dir.write("other", "22");
  write_and_wait_for("a");
  EXPECT_EQ(changes, 1);
}

TEST_F(FileWatchTest, SaysNothingOfWhatWasSeen) {
  dir.write("a", "1");
  dir.write("b", "1");
  watch.watch({at("a"), at("b")});
  dir.write("a", "22");
  watch.seen();
  write_and_wait_for("b");
  EXPECT_EQ(changes, 1);
}

TEST_F(FileWatchTest, MissesNoChangeThatCameBeforeTheSetDid) {
  dir.write("a", "1");
  watch.watch({at("a")});
  dir.write("a", "22");
  dir.write("b", "1");
  watch.watch({at("a"), at("b")});
  dir.write("unrelated", "1");
  wait_change();
}

TEST_F(FileWatchTest, LooksByItselfNowAndThen) {
  dir.write("a", "1");
  int found = 0;
  FileWatch slow(io, log, {1h, 20ms}, [&] { ++found; });
  slow.watch({at("a")});
  dir.write("a", "22");
  while (found == 0) io.run_one();
}

TEST(FoldersOnTheWay, AreThoseInWhichANameCouldChange) {
  test::TempDir dir;
  const std::string base = fs::canonical(dir.path()).string();
  fs::create_directories(base + "/real/deep");
  fs::create_directory_symlink("real", base + "/link");
  EXPECT_EQ(folders_on_the_way(base + "/link/deep/file"), (std::vector<std::string>{base, base + "/real/deep"}));
  EXPECT_EQ(folders_on_the_way(base + "/real/../real/none"), (std::vector<std::string>{base + "/real"}));
}

TEST(FoldersOnTheWay, EndWhereLinksGoInCircles) {
  test::TempDir dir;
  fs::create_symlink("b", dir.path().string() + "/a");
  fs::create_symlink("a", dir.path().string() + "/b");
  EXPECT_FALSE(folders_on_the_way(dir.path().string() + "/a").empty());
}

}  // namespace
}  // namespace fieldgate
