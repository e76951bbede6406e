// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/ledger.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace fieldgate::sim {
namespace {

class LedgerFile : public testing::Test {
 protected:
  ~LedgerFile() override { std::remove(path_.c_str()); }
  void write(const std::string& text) const { std::ofstream(path_) << text; }
  const std::string path_ = testing::TempDir() + "fieldgate-ledger-" + std::to_string(::getpid());
};

TEST_F(LedgerFile, ReadsBackWhatWasWritten) {
  Ledger ledger;
  ledger.devices = 2;
  ledger.frames_sent = 30;
  ledger.frames_acked = 29;
  ledger.streams = {{"sim-000001", 18'446'744'073'709'551'615ULL, 10, 9, {}}, {"a:b.c_d-e", 7, 20, 20, {3, 11}}};
  ASSERT_TRUE(write_ledger(path_, ledger));
  const auto read = read_ledger(path_);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->devices, 2u);
  EXPECT_EQ(read->frames_sent, 30u);
  EXPECT_EQ(read->frames_acked, 29u);
  EXPECT_EQ(read->streams, ledger.streams);
}

TEST_F(LedgerFile, RefusesWhatIsNotAWholeLedger) {
  EXPECT_FALSE(read_ledger(path_));
  const std::string head = R"({"fieldgate_sim_ledger":1,"devices":1,"frames_sent":1,"frames_acked":1,"streams":1})";
  const std::string line = R"({"device":"a","stream":"1","given":1,"acked":1,"rejected":[]})";
  for (const std::string& text :
       {std::string(), std::string("garbage\n"), head + "\n", line + "\n", head + "\n" + line + "\n" + line + "\n",
        head + "\n" + R"({"device":"a","stream":"x","given":1,"acked":1,"rejected":[]})" + "\n",
        head + "\n" + R"({"device":"a","stream":"1","given":-1,"acked":1,"rejected":[]})" + "\n"}) {
    write(text);
    EXPECT_FALSE(read_ledger(path_)) << text;
  }
  write(head + "\n" + line + "\n");
  EXPECT_TRUE(read_ledger(path_));
}

TEST_F(LedgerFile, SaysSoWhenItCannotBeWritten) { EXPECT_FALSE(write_ledger("/nowhere/at/all", Ledger())); }

}  // namespace
}  // namespace fieldgate::sim
