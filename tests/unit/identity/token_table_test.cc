// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/token_table.h"

#include <gtest/gtest.h>

namespace fieldgate {
namespace {

std::string line(const std::string& device, const std::string& token) {
  return device + " sha256:" + sha256_hex(token) + "\n";
}

TEST(TokenTable, ReadsLinesCommentsAndBlanks) {
  const auto table = TokenTable::parse("# devices of the plant\n\n  " + line("d-1", "one") + line("d-2", "two") +
                                           "\td-3\tsha256:" + sha256_hex("three") + " # until May\r\n   \n" +
                                           "d-4 sha256:" + std::string(64, 'A'),
                                       "f");
  ASSERT_TRUE(table) << table.error().detail;
  EXPECT_EQ(table->size(), 4U);
  EXPECT_EQ(table->find(sha256_of("three"))->str(), "d-3");
  EXPECT_EQ(table->find(*sha256_from_hex(std::string(64, 'a')))->str(), "d-4");  // any case
  EXPECT_EQ(table->find(sha256_of("four")), nullptr);
}

TEST(TokenTable, LetsADeviceHaveTwoTokens) {
  const auto table = TokenTable::parse(line("d", "old") + line("d", "new"), "f");
  ASSERT_TRUE(table);
  EXPECT_EQ(table->find(sha256_of("old"))->str(), "d");
  EXPECT_EQ(table->find(sha256_of("new"))->str(), "d");
}

TEST(TokenTable, ListsEveryProblemWithItsLine) {
  const auto table = TokenTable::parse(line("good", "1") + "bad/id sha256:" + sha256_hex("2") +
                                           "\nno-hash\nplain secret\nshort sha256:abcd\n" + line("other", "1") +
                                           "more sha256:" + sha256_hex("3") + " words\n",
                                       "tokens");
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().code, make_error_code(Errc::malformed));
  EXPECT_EQ(table.error().detail,
            "tokens:2: the first word: a device id is 1 to 128 of A-Z a-z 0-9 . _ : - and starts with a letter or "
            "digit\n"
            "tokens:3: the second word must be sha256: and the token's SHA-256 as 64 hex digits\n"
            "tokens:4: the second word must be sha256: and the token's SHA-256 as 64 hex digits\n"
            "tokens:5: the second word must be sha256: and the token's SHA-256 as 64 hex digits\n"
            "tokens:6: the same token as in line 1: a token belongs to one device, once\n"
            "tokens:7: more than two words");
}

TEST(TokenTable, CountsProblemsBeyondItsBound) {
  std::string text;
  for (int i = 0; i < 150; ++i) text += "x\n";
  const auto table = TokenTable::parse(text, "f");
  ASSERT_FALSE(table);
  EXPECT_TRUE(table.error().detail.ends_with("\nf: and 50 more"));
}

TEST(TokenTable, IsEmptyForAnEmptyFile) {
  const auto table = TokenTable::parse("", "f");
  ASSERT_TRUE(table);
  EXPECT_EQ(table->size(), 0U);
}

}  // namespace
}  // namespace fieldgate
