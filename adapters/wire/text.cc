// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fieldgate::wire {
namespace {

constexpr std::uint64_t k_ones = ~std::uint64_t{0} / 255;  // 0x01 in each byte
constexpr std::uint64_t k_highs = k_ones * 0x80;

std::uint64_t load8(const char* at) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

bool all_ascii(std::uint64_t word) noexcept { return (word & k_highs) == 0; }

// Eight bytes from 0x20 to 0x7e.
bool all_printable(std::uint64_t word) noexcept {
  const std::uint64_t below_space = (word - k_ones * 0x20) & ~word & k_highs;
  const std::uint64_t deleted = word ^ (k_ones * 0x7f);
  const std::uint64_t has_delete = (deleted - k_ones) & ~deleted & k_highs;
  return ((word & k_highs) | below_space | has_delete) == 0;
}

// The bytes of a text shorter than eight, the rest filled up with spaces.
std::uint64_t load_short(std::string_view text) noexcept {
  const char* at = text.data();
  const std::size_t size = text.size();
  if (size >= 4) {
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
    std::memcpy(&head, at, sizeof(head));
    std::memcpy(&tail, at + size - 4, sizeof(tail));
    return head | std::uint64_t{tail} << 32;  // some bytes twice: harmless
  }
  std::uint64_t word = k_ones * ' ';
  for (std::size_t i = 0; i < size; ++i) word = word << 8 | static_cast<unsigned char>(at[i]);
  return word;
}

// Length of the well-formed sequence at text[at], 0 if it is none.
std::size_t sequence(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const std::size_t left = text.size() - at;
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return left >= 2 && tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const unsigned low = lead == 0xe0 ? 0xa0 : 0x80;
    const unsigned high = lead == 0xed ? 0x9f : 0xbf;
    return left >= 3 && tail(1, low, high) && tail(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const unsigned low = lead == 0xf0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xf4 ? 0x8f : 0xbf;
    return left >= 4 && tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

bool is_control(std::string_view text, std::size_t at, std::size_t length) noexcept {
  const auto first = static_cast<unsigned char>(text[at]);
  if (length == 1) return first < 0x20 || first == 0x7f;
  return length == 2 && first == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0;
}

template <bool controls_allowed>
bool is_simple(std::uint64_t word) noexcept {
  return controls_allowed ? all_ascii(word) : all_printable(word);
}

template <bool controls_allowed>
bool check(std::string_view text) noexcept {
  if (text.size() < 8 && is_simple<controls_allowed>(load_short(text))) return true;
  std::size_t at = 0;
  while (at < text.size()) {
    // Eight at a time while they are simple; the last eight may overlap.
    if (text.size() >= 8) {
      const std::size_t from = std::min(at, text.size() - 8);
      if (is_simple<controls_allowed>(load8(text.data() + from))) {
        at = from + 8;
        continue;
      }
    }
    const std::size_t length = sequence(text, at);
    if (length == 0 || (!controls_allowed && is_control(text, at, length))) return false;
    at += length;
  }
  return true;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept { return check<true>(text); }

bool is_plain_text(std::string_view text) noexcept { return check<false>(text); }

}  // namespace fieldgate::wire
