// SPDX-License-Identifier: Apache-2.0
#include "adapters/sqlite/sqlite_store.h"
#include "tests/integration/store/store_fixture.h"
#include "tests/integration/store/transaction.h"
#include "tests/integration/store/worker_process.h"
#include "tests/support/temp_dir.h"

#include <sqlite3.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

namespace fieldgate::store {
namespace {

class SqliteFile : public testing::Test {
 protected:
  Result<std::unique_ptr<DeviceStore>> open() {
    auto store = sqlite::make_sqlite_store(path_, clock_);
    if (auto opened = store->open(); !opened) return opened.error();
    return store;
  }
  // With SQLite's own hands. The answer's first column, if there is one.
  static std::string execute(const std::string& path, const std::string& sql) {
    sqlite3* connection = nullptr;
    ::sqlite3_open(path.c_str(), &connection);
    std::string answer;
    const auto keep = [](void* to, int columns, char** values, char**) {
      if (columns > 0 && values[0] != nullptr) *static_cast<std::string*>(to) = values[0];
      return 0;
    };
    EXPECT_EQ(::sqlite3_exec(connection, sql.c_str(), keep, &answer, nullptr), SQLITE_OK)
        << ::sqlite3_errmsg(connection);
    ::sqlite3_close(connection);
    return answer;
  }
  static std::string bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  // Refused so, and not a byte changed, nor a file made beside it.
  void expect_refused(Errc code, std::string_view word) {
    const std::string before = bytes_of(path_);
    const auto refused = open();
    ASSERT_TRUE(failed_with(refused, code));
    EXPECT_NE(refused.error().detail.find(word), std::string::npos) << refused.error().detail;
    EXPECT_EQ(bytes_of(path_), before);
    for (const auto& found : std::filesystem::directory_iterator(dir_.path())) {
      EXPECT_EQ(found.path().string(), path_);
    }
  }

  static DeviceEntry device(const std::string& name) {
    return {.id = DeviceId::parse(name).value(), .labels = {}, .note = std::string(200, 'x')};
  }

  test::TempDir dir_;
  test::FakeClock clock_;
  const std::string path_ = dir_.file("fieldgate.db");
};

TEST_F(SqliteFile, IsForItsOwnerAlone) {
  ASSERT_TRUE(ok(open()));
  EXPECT_EQ(std::filesystem::status(path_).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(execute(path_, "PRAGMA application_id"), std::to_string(sqlite::k_application_id));
  EXPECT_EQ(execute(path_, "PRAGMA journal_mode"), "wal");
}

TEST_F(SqliteFile, KeepsEverythingFromOneOpeningToTheNext) {
  for (int n = 1; n <= 3; ++n) {
    const auto store = open();
    ASSERT_TRUE(ok(store));
    ASSERT_TRUE(ok(write_all(**store, n)));
    for (int earlier = 1; earlier <= n; ++earlier) EXPECT_EQ(things_of(**store, earlier), 6) << earlier;
  }
}

TEST_F(SqliteFile, IsRefusedUntouchedIfItIsAnotherPrograms) {
  execute(path_, "CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('Kaiserschmarrn')");
  expect_refused(Errc::malformed, "is not a store of this gateway");
  execute(path_, "PRAGMA journal_mode = WAL");
  expect_refused(Errc::malformed, "is not a store of this gateway");
}

TEST_F(SqliteFile, IsRefusedUntouchedIfItIsNoDatabase) {
  dir_.write("fieldgate.db", "devices: all of them\n");
  expect_refused(Errc::malformed, "is not a store of this gateway");
}

TEST_F(SqliteFile, IsRefusedUntouchedIfItIsOfANewerVersion) {
  { ASSERT_TRUE(ok(open())); }
  execute(path_, "PRAGMA user_version = 4711");
  expect_refused(Errc::unsupported, "4711");
}

TEST_F(SqliteFile, IsForOneStoreAtATime) {
  auto first = open();
  ASSERT_TRUE(ok(first));
  const auto second = open();
  EXPECT_TRUE(failed_with(second, Errc::unavailable));
  EXPECT_NE(second.error().detail.find("in use by another process"), std::string::npos) << second.error().detail;
  {
    WorkerProcess worker(path_);
    const std::string line = worker.read_line();
    EXPECT_TRUE(line.starts_with("refused ")) << line;
    EXPECT_NE(line.find("in use by another process"), std::string::npos) << line;
  }
  EXPECT_TRUE(ok(write_all(**first, 1)));  // the first is none the worse for it
  first->reset();
  EXPECT_TRUE(ok(open()));
}

TEST_F(SqliteFile, IsMissedClearlyWhereThereIsNoDirectory) {
  const auto store = sqlite::make_sqlite_store(dir_.file("none/fieldgate.db"), clock_);
  const auto refused = store->open();
  ASSERT_TRUE(failed_with(refused, Errc::unavailable));
  EXPECT_NE(refused.error().detail.find("none/fieldgate.db"), std::string::npos);
  EXPECT_NE(refused.error().detail.find("directory must be there"), std::string::npos) << refused.error().detail;
  // It is tried again when it is next needed.
  EXPECT_TRUE(failed_with(store->begin(), Errc::unavailable));
  std::filesystem::create_directory(dir_.file("none"));
  EXPECT_TRUE(ok(write_all(*store, 1)));
}

TEST_F(SqliteFile, SaysThatItsDirectoryCannotBeWritten) {
  if (!can_mount()) GTEST_SKIP() << "this process may not mount anything";
  { ASSERT_TRUE(ok(open())); }
  const std::string mount = "mount --bind '" + dir_.path().string() + "' '" + dir_.path().string() +
                            "' && mount -o remount,ro,bind '" + dir_.path().string() + "'";
  WorkerProcess worker(path_, {"unshare", "-m", "sh", "-c", mount + " && exec \"$@\"", "sh"});
  const std::string line = worker.read_line();
  EXPECT_TRUE(line.starts_with("refused ")) << line;
  EXPECT_NE(line.find("writable for this user"), std::string::npos) << line;
}

TEST_F(SqliteFile, SaysThatTheDiskIsFullAndGoesOnOnceItIsNot) {
  if (!can_mount()) GTEST_SKIP() << "this process may not mount anything";
  WorkerProcess worker(path_, with_mount(dir_.path(), "size=2m", "true"));
  ASSERT_EQ(worker.read_line(), "open");
  int next = 1;
  for (; next <= 10; ++next) {
    ASSERT_EQ(worker.ask("write " + std::to_string(next)), "committed " + std::to_string(next));
  }
  ASSERT_EQ(worker.ask("fill"), "filled");
  std::string answer;
  while ((answer = worker.ask("write " + std::to_string(next))).starts_with("committed ")) ++next;
  EXPECT_TRUE(answer.starts_with("failed ")) << answer;
  EXPECT_NE(answer.find("full"), std::string::npos) << answer;
  ASSERT_EQ(worker.ask("free"), "freed");
  EXPECT_EQ(worker.ask("write " + std::to_string(next)), "committed " + std::to_string(next));
}

// Damage is the file's: nobody's words are refused for it.
TEST_F(SqliteFile, IsAwayAndSaysWhatToDoWhenItIsDamagedInUse) {
  {
    const auto store = open();
    ASSERT_TRUE(ok(store));
    for (int i = 0; i < 400; ++i) {
      ASSERT_TRUE(ok((*store)->put_device(device("dev-" + std::to_string(i)), std::nullopt)));
    }
  }
  const auto store = open();
  ASSERT_TRUE(ok(store));
  {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    const auto bytes = std::filesystem::file_size(path_);
    ASSERT_GT(bytes, 20u * 4096u);
    file.seekp(4096 * 2);  // what the opening has read of it stays as it is
    file << std::string(bytes - 4096 * 2, '\xA5');
  }
  const auto read = (*store)->registry_changes(0, 1'000);
  ASSERT_TRUE(failed_with(read, Errc::unavailable)) << (read ? "read" : read.error().detail);
  EXPECT_NE(read.error().detail.find("restore the file from a backup"), std::string::npos) << read.error().detail;
}

// Whatever a killed process was in the middle of: what it said was committed is there,
// whole, and nothing is there in part.
TEST_F(SqliteFile, KeepsWhatWasCommittedWhenItsProcessIsKilled) {
  std::mt19937 random(5);
  int committed = 0;
  int kills = 0;
  for (; kills < 15; ++kills) {
    WorkerProcess worker(path_);
    ASSERT_EQ(worker.read_line(), "open");
    worker.send("flood " + std::to_string(committed + 1));
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 30'000);
    const int least = committed + 1;
    while (committed < least || std::chrono::steady_clock::now() < until) {
      const std::string line = worker.read_line();
      ASSERT_TRUE(line.starts_with("committed ")) << line;
      committed = std::stoi(line.substr(10));
    }
    worker.kill();
    for (std::string line; (line = worker.read_line()).starts_with("committed ");)
      committed = std::stoi(line.substr(10));
    {
      const auto store = open();
      ASSERT_TRUE(ok(store));
      for (int n = 1; n <= committed; ++n) ASSERT_EQ(things_of(**store, n), 6) << n;
      // It may have been killed after a commit, before it could say so.
      const int last = things_of(**store, committed + 1);
      ASSERT_TRUE(last == 0 || last == 6) << last;
      if (last == 6) ++committed;
      ASSERT_EQ(things_of(**store, committed + 1), 0);
    }
    ASSERT_EQ(execute(path_, "PRAGMA integrity_check"), "ok");
  }
  std::printf("kills=%d transactions=%d lost=0 partial=0\n", kills, committed);
}

}  // namespace
}  // namespace fieldgate::store
