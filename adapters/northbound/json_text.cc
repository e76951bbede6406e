// SPDX-License-Identifier: Apache-2.0
#include "adapters/northbound/json_text.h"

#include <cmath>

namespace fieldgate::northbound {
namespace {

constexpr std::uint64_t k_exact_max = std::uint64_t{1} << 53;

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  static constexpr char k_hex[] = "0123456789abcdef";
  out.push_back('"');
  std::size_t plain = 0;  // start of what needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text.substr(plain, i - plain));
    plain = i + 1;
    switch (c) {
      case '"': out.append("\\\""); break;
      case '\\': out.append("\\\\"); break;
      case '\n': out.append("\\n"); break;
      case '\r': out.append("\\r"); break;
      case '\t': out.append("\\t"); break;
      default:
        out.append("\\u00");
        out.push_back(k_hex[static_cast<unsigned char>(c) >> 4]);
        out.push_back(k_hex[c & 0x0F]);
    }
  }
  out.append(text.substr(plain));
  out.push_back('"');
}

void append_json_integer(std::int64_t value, std::string& out) {
  const auto magnitude = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  const bool exact = magnitude <= k_exact_max;
  if (!exact) out.push_back('"');
  append_number(value, out);
  if (!exact) out.push_back('"');
}

void append_json_integer(std::uint64_t value, std::string& out) {
  const bool exact = value <= k_exact_max;
  if (!exact) out.push_back('"');
  append_number(value, out);
  if (!exact) out.push_back('"');
}

void append_json_double(double value, std::string& out) {
  if (std::isnan(value)) {
    out.append("\"NaN\"");
  } else if (std::isinf(value)) {
    out.append(value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  } else {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    out.append(text, end);
  }
}

void append_json_base64(std::string_view bytes, std::string& out) {
  static constexpr char k_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.push_back('"');
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = bytes.size() - i;
    const auto at = [&](std::size_t k) { return k < left ? static_cast<unsigned char>(bytes[i + k]) : 0U; };
    const unsigned word = at(0) << 16 | at(1) << 8 | at(2);
    out.push_back(k_alphabet[word >> 18]);
    out.push_back(k_alphabet[word >> 12 & 63]);
    out.push_back(left > 1 ? k_alphabet[word >> 6 & 63] : '=');
    out.push_back(left > 2 ? k_alphabet[word & 63] : '=');
  }
  out.push_back('"');
}

void append_json_key(std::string_view key, std::string& out) {
  if (!out.empty() && out.back() != '{') out.push_back(',');
  out.push_back('"');
  out.append(key);
  out.append("\":");
}

}  // namespace fieldgate::northbound
