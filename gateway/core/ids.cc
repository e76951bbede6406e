// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/ids.h"

#include <algorithm>

namespace fieldgate {
namespace {

bool is_alnum(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

bool is_valid_name(std::string_view text) noexcept {
  if (text.empty() || text.size() > k_name_bytes_max || !is_alnum(text.front())) return false;
  return std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == ':' || c == '-'; });
}

Result<DeviceId> DeviceId::parse(std::string_view text) {
  if (!is_valid_name(text)) {
    return make_error(Errc::invalid_argument,
                      "a device id is 1 to 128 of A-Z a-z 0-9 . _ : - and starts with a letter or digit");
  }
  return DeviceId(std::string(text));
}

std::uint64_t stable_hash(std::string_view text) noexcept {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  return hash;
}

}  // namespace fieldgate
