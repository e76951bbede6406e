// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/hex.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <string>
#include <vector>

namespace fieldgate {
namespace {

TEST(Hex, WritesTwoLowerCaseDigitsForEachByteOfWhateverKind) {
  const std::string text("\0\x0f\xA5\xFF", 4);
  EXPECT_EQ(to_hex(text), "000fa5ff");
  EXPECT_EQ(to_hex(std::vector{std::byte{0}, std::byte{15}, std::byte{0xA5}, std::byte{0xFF}}), "000fa5ff");
  EXPECT_EQ(to_hex(std::array<unsigned char, 4>{0, 15, 0xA5, 0xFF}), "000fa5ff");
  EXPECT_EQ(to_hex(std::string_view()), "");
}

TEST(Hex, ReadsDigitsInBothCasesAndNothingElse) {
  const std::string_view digits = "0123456789abcdef";
  const std::string_view upper = "0123456789ABCDEF";
  for (int c = std::numeric_limits<char>::min(); c <= std::numeric_limits<char>::max(); ++c) {
    const char one = static_cast<char>(c);
    auto at = digits.find(one);
    if (at == std::string_view::npos) at = upper.find(one);
    EXPECT_EQ(hex_digit(one), at == std::string_view::npos ? -1 : static_cast<int>(at)) << c;
  }
}

}  // namespace
}  // namespace fieldgate
