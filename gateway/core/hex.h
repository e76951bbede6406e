// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace fieldgate {

// Two lower-case hexadecimal digits for each byte.
std::string to_hex(std::span<const unsigned char> bytes);
std::string to_hex(std::span<const std::byte> bytes);
std::string to_hex(std::string_view bytes);

// The value of a hexadecimal digit, in upper or lower case; -1: it is none.
constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace fieldgate
