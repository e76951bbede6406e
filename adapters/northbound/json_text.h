// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

// Pieces of JSON (RFC 8259), appended to a string.
namespace fieldgate::northbound {

// A string with its quotes. `text` must be UTF-8.
void append_json_string(std::string_view text, std::string& out);

// A number up to 2^53 in magnitude, which every reader takes exactly; a string beyond.
void append_json_integer(std::int64_t value, std::string& out);
void append_json_integer(std::uint64_t value, std::string& out);

// The shortest text that reads back as the same double; "NaN", "Infinity" and
// "-Infinity" as strings, for JSON has no such numbers.
void append_json_double(double value, std::string& out);

// A string of base64 (RFC 4648 section 4, padded).
void append_json_base64(std::string_view bytes, std::string& out);

// "key":  with a comma before it unless it is the object's first.
void append_json_key(std::string_view key, std::string& out);

// A whole number without quotes whatever its size: for milliseconds and counts.
template <class T>
void append_number(T value, std::string& out) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, end);
}

}  // namespace fieldgate::northbound
