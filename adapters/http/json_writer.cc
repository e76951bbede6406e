// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/json_writer.h"

#include "adapters/http/text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace fieldgate::http {

void JsonWriter::comma() {
  if (comma_) out_.push_back(',');
  comma_ = true;
}

JsonWriter& JsonWriter::open(char c) {
  comma();
  out_.push_back(c);
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char c) {
  out_.push_back(c);
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view text) {
  comma();
  out_ += text;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  comma();
  quote(name);
  out_.push_back(':');
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  comma();
  quote(text);
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  if (std::isnan(number)) return value("NaN");
  if (std::isinf(number)) return value(number > 0 ? "Infinity" : "-Infinity");
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  return raw({text.data(), static_cast<std::size_t>(end - text.data())});
}

JsonWriter& JsonWriter::integer(bool negative, std::uint64_t magnitude) {
  const std::string text = (negative ? "-" : "") + std::to_string(magnitude);
  return magnitude > std::uint64_t{1} << 53 ? value(std::string_view(text)) : raw(text);
}

JsonWriter& JsonWriter::time(std::int64_t unix_ms) {
  const std::string text = unix_ms == 0 ? std::string() : rfc3339(unix_ms);
  return text.empty() ? null() : value(std::string_view(text));
}

void JsonWriter::quote(std::string_view text) {
  constexpr std::string_view k_digits = "0123456789abcdef";
  out_.push_back('"');
  while (!text.empty()) {
    const std::size_t n = utf8_sequence(text);
    const char c = text[0];
    if (n == 0) {
      out_ += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out_.push_back('\\');
      out_.push_back(c);
    } else if (n == 1 && static_cast<unsigned char>(c) < 0x20) {
      out_ += "\\u00";
      out_.push_back(k_digits[static_cast<unsigned char>(c) >> 4]);
      out_.push_back(k_digits[static_cast<unsigned char>(c) & 15]);
    } else {
      out_ += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  out_.push_back('"');
}

}  // namespace fieldgate::http
