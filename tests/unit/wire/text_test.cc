// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace fieldgate::wire {
namespace {

// Straight from the definition, one code point at a time.
bool reference(const std::string& text, bool controls_allowed) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
    if (length == 0 || lead >= 0xf8 || i + length > text.size()) return false;
    std::uint32_t point = length == 1 ? lead : lead & (0x7fU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3fU);
    }
    const std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < smallest[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    if (!controls_allowed && (point < 0x20 || (point >= 0x7f && point < 0xa0))) return false;
    i += length;
  }
  return true;
}

TEST(Text, AgreesWithTheDefinitionOnEveryShortString) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      const std::string two = {static_cast<char>(a), static_cast<char>(b)};
      ASSERT_EQ(is_utf8(two), reference(two, true));
      ASSERT_EQ(is_plain_text(two), reference(two, false));
      // The same deep inside a longer text, where eight bytes are read at once.
      const std::string longer = "0123456" + two + "89abcdef";
      ASSERT_EQ(is_utf8(longer), reference(longer, true));
      ASSERT_EQ(is_plain_text(longer), reference(longer, false));
    }
  }
}

TEST(Text, AgreesWithTheDefinitionOnRandomStrings) {
  std::mt19937 random(1);
  const std::string pieces[] = {"a",  "plain text", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\xa5", "\xed\xa0\x80",
                                "\n", "\x7f",       "\xc2\x85", "\xc0\x80",     "\xf4\x90\x80\x80", "\xe0\x80\x80",
                                " ",  "\x80"};
  int valid = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text;
    const unsigned kinds = random() % 2 == 0 ? 5 : std::size(pieces);
    for (unsigned k = random() % 12; k > 0; --k) text += pieces[random() % kinds];
    if (random() % 4 == 0 && !text.empty()) text.resize(random() % text.size());
    valid += reference(text, false) ? 1 : 0;
    ASSERT_EQ(is_utf8(text), reference(text, true)) << testing::PrintToString(text);
    ASSERT_EQ(is_plain_text(text), reference(text, false)) << testing::PrintToString(text);
  }
  EXPECT_GT(valid, 5'000);
}

}  // namespace
}  // namespace fieldgate::wire
