// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/authenticator.h"

#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace fieldgate {

Sha256 sha256_of(std::string_view text);
// 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view text);
// 64 digits of either case; nullopt for anything else.
std::optional<Sha256> sha256_from_hex(std::string_view text);

// For hash tables: as good as any other eight bytes of it.
struct HashOfSha256 {
  std::size_t operator()(const Sha256& hash) const noexcept {
    std::size_t first = 0;
    std::memcpy(&first, hash.data(), sizeof(first));
    return first;
  }
};

}  // namespace fieldgate
