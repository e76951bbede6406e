// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/random_id.h"

#include <openssl/rand.h>

#include <array>
#include <cstdlib>

namespace fieldgate::control {

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  // Fails only where the system has no randomness at all: then no id may be made.
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();
  constexpr const char* k_digits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text.push_back(k_digits[byte >> 4]);
    text.push_back(k_digits[byte & 15]);
  }
  return text;
}

}  // namespace fieldgate::control
