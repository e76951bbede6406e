// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/cursor.h"

#include "gateway/core/ids.h"

namespace fieldgate {
namespace {

// Version byte, fingerprint, key (both big-endian), id; a text goes behind a line feed,
// which no id has.
constexpr char k_version = 1;
constexpr std::size_t k_head_bytes = 1 + 8 + 8;

void put(std::uint64_t value, std::string& out) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>((value >> shift) & 0xff));
}

std::uint64_t get(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes.substr(0, 8)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

std::string encode_cursor(const CursorPosition& position, std::uint64_t fingerprint) {
  std::string out;
  out.reserve(k_head_bytes + position.id.size());
  out.push_back(k_version);
  put(fingerprint, out);
  put(static_cast<std::uint64_t>(position.key), out);
  out += position.id;
  if (!position.text.empty()) out.append(1, '\n').append(position.text);
  return out;
}

Result<CursorPosition> decode_cursor(std::string_view bytes, std::uint64_t fingerprint) {
  if (bytes.empty()) return make_error(Errc::malformed, "empty cursor");
  if (bytes[0] != k_version) return make_error(Errc::unsupported, "cursor of another version");
  if (bytes.size() <= k_head_bytes) return make_error(Errc::malformed, "cursor cut short");
  const std::string_view rest = bytes.substr(k_head_bytes);
  const std::string_view id = rest.substr(0, rest.find('\n'));
  const std::string_view text = id.size() < rest.size() ? rest.substr(id.size() + 1) : std::string_view();
  if (!is_valid_name(id) || (text.empty() && id.size() < rest.size()))
    return make_error(Errc::malformed, "cursor without a valid id");
  if (get(bytes.substr(1)) != fingerprint) return make_error(Errc::forbidden, "cursor of another query");
  return CursorPosition{static_cast<std::int64_t>(get(bytes.substr(9))), std::string(id), std::string(text)};
}

}  // namespace fieldgate
