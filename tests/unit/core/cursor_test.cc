// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/cursor.h"

#include <gtest/gtest.h>

#include <limits>

namespace fieldgate {
namespace {

TEST(Cursor, ComesBackAsItWas) {
  for (const std::int64_t key : {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1}, std::int64_t{1'700'000'000'123},
                                 std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
    const CursorPosition position{key, "plant-7:pump.3"};
    const auto back = decode_cursor(encode_cursor(position, 42), 42);
    ASSERT_TRUE(back.has_value()) << key;
    EXPECT_EQ(*back, position);
  }
}

TEST(Cursor, IsRefusedForAnotherQuery) {
  const auto back = decode_cursor(encode_cursor({7, "a"}, 42), 43);
  ASSERT_FALSE(back.has_value());
  EXPECT_EQ(back.error().code, Errc::forbidden);
}

TEST(Cursor, IsRefusedInAnotherVersion) {
  std::string bytes = encode_cursor({7, "a"}, 42);
  bytes[0] = 2;
  const auto back = decode_cursor(bytes, 42);
  ASSERT_FALSE(back.has_value());
  EXPECT_EQ(back.error().code, Errc::unsupported);
}

TEST(Cursor, IsRefusedWhenCutShortAnywhere) {
  const std::string bytes = encode_cursor({7, "a"}, 42);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(decode_cursor(bytes.substr(0, n), 42).has_value()) << n;
  }
}

TEST(Cursor, IsRefusedWithoutAValidId) {
  for (const std::string_view id :
       {std::string_view("no spaces"), std::string_view("a/b"), std::string_view("a\0b", 3)}) {
    const auto back = decode_cursor(encode_cursor({7, std::string(id)}, 42), 42);
    ASSERT_FALSE(back.has_value()) << id;
    EXPECT_EQ(back.error().code, Errc::malformed);
  }
}

}  // namespace
}  // namespace fieldgate
