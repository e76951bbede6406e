// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// The text forms that HTTP and its neighbours are made of.
namespace fieldgate::http {

// ASCII only, whatever the locale.
constexpr bool is_alnum(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
std::string to_lower(std::string_view text);

// Without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3).
std::string_view trim(std::string_view text) noexcept;

// Calls `fn` with each non-empty item of a comma-separated list (RFC 9110
// section 5.6.1). Items must not hold quoted commas.
template <class Fn>
void for_each_item(std::string_view list, Fn fn) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view item = trim(list.substr(0, comma));
    if (!item.empty()) fn(item);
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
}

// Bytes of the UTF-8 sequence that `text` begins with (RFC 3629); 0 if none.
std::size_t utf8_sequence(std::string_view text) noexcept;
bool is_utf8(std::string_view text) noexcept;

// RFC 4648 section 4, with padding.
std::string base64(std::span<const std::byte> bytes);

// RFC 3339 in UTC with milliseconds; empty outside the years 0 to 9999.
std::string rfc3339(std::int64_t unix_ms);
// IMF-fixdate, for Date (RFC 9110 section 5.6.7).
std::string http_date(std::int64_t unix_ms);

}  // namespace fieldgate::http
