// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/cursor.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::http {

// Cursors as clients see them: base64url of the encoded position and its
// HMAC-SHA256 (RFC 2104) under a key drawn at construction, so a cursor does not
// outlive the process.
class CursorSeal {
 public:
  CursorSeal();

  std::string seal(const CursorPosition& position, std::uint64_t fingerprint) const;
  // Errors: those of decode_cursor; Errc::malformed too for what was not sealed
  // here or was changed since.
  Result<CursorPosition> open(std::string_view text, std::uint64_t fingerprint) const;

 private:
  using Mac = std::array<unsigned char, 32>;
  Mac mac(std::string_view bytes) const;

  std::array<unsigned char, 32> key_{};
};

}  // namespace fieldgate::http
