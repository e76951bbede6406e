// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/directory.h"

#include "adapters/spool/disk_format.h"
#include "adapters/spool/layout.h"
#include "tests/unit/spool/lmdb_fixture.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>

namespace fieldgate::spool {
namespace {

// What is in a directory, byte for byte.
std::map<std::string, std::string> contents(const std::string& dir) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    std::ifstream file(entry.path(), std::ios::binary);
    files[entry.path().filename()] = std::string((std::istreambuf_iterator<char>(file)), {});
  }
  return files;
}

class SpoolDirectory : public LmdbFixture {
 protected:
  // Refused for `why`, with path and remedy, and nothing there has changed.
  void expect_refused(const std::string& why) {
    const auto before = contents(settings_.dir);
    const auto made = try_make();
    ASSERT_FALSE(made);
    const std::string text = made.error().detail;
    EXPECT_NE(text.find(settings_.dir), std::string::npos) << text;
    EXPECT_NE(text.find(why), std::string::npos) << text;
    EXPECT_NE(text.find("uplink.spool.dir"), std::string::npos) << text;
    EXPECT_TRUE(contents(settings_.dir) == before);
  }
  void write_data(const std::string& bytes) {
    std::filesystem::create_directories(settings_.dir);
    std::ofstream(data_file(), std::ios::binary) << bytes;
  }
  // A spool with something in it, closed.
  void fill() {
    ASSERT_TRUE(start().append(make_block(100, 1, 0, 1'000)));
    shut();
  }
  // Any LMDB file.
  void with_lmdb(const std::function<void(MDB_txn*)>& act) {
    std::filesystem::create_directories(settings_.dir);
    MDB_env* env = nullptr;
    ASSERT_EQ(::mdb_env_create(&env), MDB_SUCCESS);
    ::mdb_env_set_maxdbs(env, 8);
    ::mdb_env_set_mapsize(env, 16 << 20);
    ASSERT_EQ(::mdb_env_open(env, settings_.dir.c_str(), 0, 0600), MDB_SUCCESS);
    MDB_txn* txn = nullptr;
    ASSERT_EQ(::mdb_txn_begin(env, nullptr, 0, &txn), MDB_SUCCESS);
    act(txn);
    ASSERT_EQ(::mdb_txn_commit(txn), MDB_SUCCESS);
    ::mdb_env_close(env);
  }
};

TEST_F(SpoolDirectory, IsMadeForItsOwnerAlone) {
  settings_.dir = temp_.file("a/b/spool");
  start();
  struct stat status {};
  ASSERT_EQ(::stat(settings_.dir.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

TEST_F(SpoolDirectory, IsHeldByOneAtATime) {
  start();
  const auto second = try_make();
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().detail.find("in use by another process"), std::string::npos) << second.error().detail;
  shut();
  EXPECT_TRUE(try_make());
}

TEST_F(SpoolDirectory, IsRefusedWithAFileThatIsNoSpool) {
  write_data("Dear diary, " + std::string(20'000, '.'));
  expect_refused("not a Fieldgate spool");
}

TEST_F(SpoolDirectory, IsRefusedWithAFileTooShortToBeOne) {
  write_data("short");
  expect_refused("not a Fieldgate spool");
}

TEST_F(SpoolDirectory, IsRefusedWithAnLmdbFileOfSomebodyElse) {
  with_lmdb([](MDB_txn* txn) {
    MDB_dbi table = 0;
    MDB_val key = value_of(std::string_view("key"));
    MDB_val value = value_of(std::string_view("value"));
    ASSERT_EQ(::mdb_dbi_open(txn, "theirs", MDB_CREATE, &table), MDB_SUCCESS);
    ASSERT_EQ(::mdb_put(txn, table, &key, &value, 0), MDB_SUCCESS);
  });
  expect_refused("not a Fieldgate spool");
}

TEST_F(SpoolDirectory, IsRefusedWithASpoolOfALaterFormat) {
  fill();
  with_lmdb([](MDB_txn* txn) {
    MDB_dbi meta = 0;
    const std::string format = std::string(k_format_name) + encode_number(k_format_version + 1);
    MDB_val key = value_of(k_meta_format);
    MDB_val value = value_of(std::string_view(format));
    ASSERT_EQ(::mdb_dbi_open(txn, k_meta_table, 0, &meta), MDB_SUCCESS);
    ASSERT_EQ(::mdb_put(txn, meta, &key, &value, 0), MDB_SUCCESS);
  });
  expect_refused("format 2, while this program reads 1");
}

TEST_F(SpoolDirectory, IsRefusedWithATruncatedSpool) {
  fill();
  std::filesystem::resize_file(data_file(), 40'960);
  expect_refused("truncated: 40960 bytes");
}

TEST_F(SpoolDirectory, IsRefusedWithADamagedHead) {
  fill();
  std::fstream file(data_file(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096 + 16);
  file << "XXXX";
  file.close();
  expect_refused("damaged in its first pages");
}

TEST_F(SpoolDirectory, IsTakenWithTheEmptyFileOfAProcessThatDiedEarly) {
  write_data("");
  EXPECT_TRUE(try_make());
}

TEST_F(SpoolDirectory, IsTakenWithAnLmdbFileThatNothingWasPutInto) {
  with_lmdb([](MDB_txn*) {});
  EXPECT_TRUE(try_make());
}

TEST_F(SpoolDirectory, IsTakenThoughItsFileHasHoles) {
  fill();
  const auto bytes = std::filesystem::file_size(data_file());
  const std::string copy = temp_.file("copy");
  std::filesystem::copy_file(data_file(), copy);
  std::filesystem::resize_file(copy, bytes + (8 << 20));
  std::filesystem::rename(copy, data_file());
  EXPECT_EQ(start().usage().records, 100U);
  EXPECT_NE(read(1), nullptr);
}

TEST_F(SpoolDirectory, IsRefusedWhereAFileStandsInItsPlace) {
  settings_.dir = temp_.write("file", "not a directory");
  const auto made = try_make();
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().detail.find(settings_.dir + ": cannot be made"), std::string::npos) << made.error().detail;
}

TEST_F(SpoolDirectory, IsRefusedWhereItCannotBeMade) {
  settings_.dir = "/proc/fieldgate/spool";
  const auto made = try_make();
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().detail.find("/proc/fieldgate/spool: cannot be made: "), std::string::npos)
      << made.error().detail;
}

}  // namespace
}  // namespace fieldgate::spool
