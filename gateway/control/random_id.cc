// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/random_id.h"

#include "gateway/core/hex.h"

#include <openssl/rand.h>

#include <array>
#include <cstdlib>

namespace fieldgate::control {

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  // Fails only where the system has no randomness at all: then no id may be made.
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();
  return to_hex(bytes);
}

}  // namespace fieldgate::control
