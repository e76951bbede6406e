// SPDX-License-Identifier: Apache-2.0
//
// Whatever is sent as a cursor: the bytes are refused, or are exactly those that
// would be written for what was read; and nothing opens without the seal's key.
#include "adapters/http/sealed_cursor.h"
#include "adapters/jwt/base64url.h"
#include "gateway/core/ids.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fieldgate;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  constexpr std::uint64_t k_fingerprint = 0x0102030405060708;

  const Result<CursorPosition> position = decode_cursor(bytes, k_fingerprint);
  if (position && (!is_valid_name(position->id) || encode_cursor(*position, k_fingerprint) != bytes)) std::abort();

  const auto plain = jwt::from_base64url(bytes);
  if (plain && jwt::to_base64url(*plain) != bytes) std::abort();

  static const http::CursorSeal seal;
  if (seal.open(bytes, k_fingerprint)) std::abort();
  return 0;
}
