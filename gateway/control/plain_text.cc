// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/plain_text.h"

#include <cstddef>
#include <cstdint>

namespace fieldgate::control {

bool is_plain_text(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at++]);
    if (lead < 0x80) {
      if (lead < 0x20 || lead == 0x7f) return false;
      continue;
    }
    if (lead < 0xc2 || lead > 0xf4) return false;
    const std::size_t tail = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (text.size() - at < tail) return false;
    std::uint32_t point = lead & (0x3fU >> tail);
    for (std::size_t i = 0; i < tail; ++i) {
      const auto byte = static_cast<unsigned char>(text[at++]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3fU);
    }
    const bool overlong = (tail == 2 && point < 0x800) || (tail == 3 && point < 0x10000);
    const bool surrogate = point >= 0xd800 && point <= 0xdfff;
    if (overlong || surrogate || point > 0x10ffff || point <= 0x9f) return false;
  }
  return true;
}

}  // namespace fieldgate::control
