// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_id.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>

namespace fieldgate::control {
namespace {

constexpr std::size_t k_stamp_bytes = 8;
constexpr std::size_t k_random_bytes = 16;
constexpr char k_digits[] = "0123456789abcdefghijklmnopqrstuv";

// Milliseconds in the upper 48 bits; below them a count, for those of one millisecond
// and for when the clock is set back.
std::uint64_t next_stamp(std::int64_t unix_ms) noexcept {
  static std::atomic<std::uint64_t> last{0};
  const std::uint64_t wanted = static_cast<std::uint64_t>(unix_ms) << 16;
  std::uint64_t seen = last.load(std::memory_order_relaxed);
  std::uint64_t next = 0;
  do {
    next = std::max(wanted, seen + 1);
  } while (!last.compare_exchange_weak(seen, next, std::memory_order_relaxed));
  return next;
}

}  // namespace

std::string make_command_id(std::int64_t unix_ms) {
  std::array<unsigned char, k_stamp_bytes + k_random_bytes> bytes{};
  const std::uint64_t stamp = next_stamp(unix_ms);
  for (std::size_t i = 0; i < k_stamp_bytes; ++i) {
    bytes[i] = static_cast<unsigned char>(stamp >> (8 * (k_stamp_bytes - 1 - i)));
  }
  [[maybe_unused]] const int drawn = RAND_bytes(bytes.data() + k_stamp_bytes, k_random_bytes);
  assert(drawn == 1);

  std::string text;
  std::uint32_t held = 0;
  unsigned bits = 0;
  for (const unsigned char byte : bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text.push_back(k_digits[(held >> (bits - 5)) & 31]);
  }
  text.push_back(k_digits[(held << (5 - bits)) & 31]);
  return text;
}

}  // namespace fieldgate::control
