// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/ids.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>
#include <string>

namespace fieldgate {
namespace {

TEST(Names, AreTakenInEveryFormThatDevicesHave) {
  for (const char* name : {"a", "7", "dev-1", "00:1A:2B:3C:4D:5E", "urn:dev:ops:32473-Refrigerator-5002", "a.b_c"}) {
    EXPECT_TRUE(is_valid_name(name)) << name;
  }
  EXPECT_TRUE(is_valid_name(std::string(128, 'x')));
}

TEST(Names, AreRefusedWhereTheyWouldMeanSomethingInATopicOrAPath) {
  for (const char* name :
       {"", ".hidden", "-a", "_a", ":a", "a/b", "a+", "a#", "$SYS", "a b", "a\n", "a%2f", "\xc3\xa9"}) {
    EXPECT_FALSE(is_valid_name(name)) << name;
  }
  EXPECT_FALSE(is_valid_name(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_valid_name(std::string(129, 'x')));
}

TEST(Names, AgreeWithTheirRegularExpressionOnRandomStrings) {
  const std::regex form("^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$", std::regex::ECMAScript);
  // Mostly characters from the edge of what is allowed, so that both verdicts occur.
  const std::string alphabet = "azAZ09._:-/+#$@[`{ \x7f";
  std::mt19937 random(7);
  int valid = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::size_t size = random() % 8 == 0 ? 120 + random() % 16 : random() % 6;
    const std::size_t letters = random() % 2 == 0 ? 10 : alphabet.size();
    std::string text;
    for (std::size_t k = 0; k < size; ++k) {
      text += random() % 64 == 0 ? static_cast<char>(random()) : alphabet[random() % letters];
    }
    // std::regex takes '\n' and '\0' for what they are in a character class, and $
    // for the very end.
    const bool expected = std::regex_match(text, form);
    valid += expected ? 1 : 0;
    ASSERT_EQ(is_valid_name(text), expected) << testing::PrintToString(text);
    const auto id = DeviceId::parse(text);
    ASSERT_EQ(id.has_value(), expected);
    if (id) {
      ASSERT_EQ(id->str(), text);
    } else {
      ASSERT_EQ(id.error().code, Errc::invalid_argument);
    }
  }
  EXPECT_GT(valid, 1'000);
  EXPECT_LT(valid, 19'000);
}

TEST(StableHash, NeverChangesFromReleaseToRelease) {
  // FNV-1a test vectors of its authors.
  EXPECT_EQ(stable_hash(""), 0xcbf29ce484222325U);
  EXPECT_EQ(stable_hash("a"), 0xaf63dc4c8601ec8cU);
  EXPECT_EQ(stable_hash("foobar"), 0x85944171f73967e8U);
}

TEST(StrongNumbers, OfDifferentKindsDoNotMix) {
  static_assert(!std::is_convertible_v<Seq, StreamId>);
  static_assert(!std::is_convertible_v<std::uint64_t, Epoch>);
  EXPECT_LT(Seq{1}, Seq{2});
  EXPECT_EQ(k_epoch_max, 9'007'199'254'740'991U);
}

}  // namespace
}  // namespace fieldgate
