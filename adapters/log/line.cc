// SPDX-License-Identifier: Apache-2.0
#include "adapters/log/line.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace fieldgate::log_line {
namespace {

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
  }
  return "error";
}

// The code point that `text` begins with and its length; 0 for bytes that are
// not UTF-8 (RFC 3629), of which one is to be skipped.
struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;
};

CodePoint first_code_point(std::string_view text) {
  const auto at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {lead, 1};
  std::size_t bytes = 0;
  if (lead >= 0xc2 && lead <= 0xdf) bytes = 2;
  if ((lead & 0xf0) == 0xe0) bytes = 3;
  if (lead >= 0xf0 && lead <= 0xf4) bytes = 4;
  if (bytes == 0 || text.size() < bytes) return {};
  char32_t value = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return {};
    value = (value << 6) | (at(i) & 0x3fU);
  }
  const bool overlong = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  if (overlong || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {};
  return {value, bytes};
}

// What could end a line, move a cursor or turn the reading direction.
bool must_escape(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029 || (c >= 0x202a && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0xfeff;
}

void append_escaped(char32_t c, std::string& out) {
  if (c == '\n') {
    out.append("\\n");
  } else if (c == '\r') {
    out.append("\\r");
  } else if (c == '\t') {
    out.append("\\t");
  } else {
    std::array<char, 8> hex{};
    std::snprintf(hex.data(), hex.size(), "\\u%04x", static_cast<unsigned>(c));
    out.append(hex.data());
  }
}

// In double quotes, as both JSON and logfmt have them.
void append_quoted(std::string_view text, std::string& out) {
  out.push_back('"');
  std::size_t taken = 0;
  while (!text.empty()) {
    const CodePoint c = first_code_point(text);
    const std::size_t bytes = c.bytes == 0 ? 1 : c.bytes;
    taken += bytes;
    if (taken > k_value_bytes_max) {
      out.append("...");
      break;
    }
    if (c.bytes == 0) {
      out.append("\xef\xbf\xbd");
    } else if (must_escape(c.value)) {
      append_escaped(c.value, out);
    } else {
      if (c.value == '"' || c.value == '\\') out.push_back('\\');
      out.append(text.substr(0, bytes));
    }
    text.remove_prefix(bytes);
  }
  out.push_back('"');
}

bool is_bare(std::string_view text) {
  constexpr std::string_view k_bare =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:/@+,[]()%*!?;~#&|<>$^{}";
  return !text.empty() && text.size() <= k_value_bytes_max && text.find_first_not_of(k_bare) == std::string_view::npos;
}

template <class T>
void append_number(T number, std::string& out) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

void append_value(LogFormat format, const LogField::Value& value, std::string& out) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    if (format == LogFormat::logfmt && is_bare(*text)) {
      out.append(*text);
    } else {
      append_quoted(*text, out);
    }
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    out.append(*flag ? "true" : "false");
  } else if (const auto* real = std::get_if<double>(&value)) {
    if (std::isfinite(*real)) {
      append_number(*real, out);
    } else {
      append_quoted(std::isnan(*real) ? "NaN" : (*real > 0 ? "Inf" : "-Inf"), out);
    }
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    append_number(*integer, out);
  } else {
    append_number(std::get<std::uint64_t>(value), out);
  }
}

void append_key(std::string_view key, std::string& out) {
  constexpr std::string_view k_allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  for (const char c : key.substr(0, k_key_bytes_max)) {
    out.push_back(k_allowed.find(c) == std::string_view::npos ? '_' : c);
  }
}

void append_field(LogFormat format, std::string_view key, const LogField::Value& value, std::string& out) {
  if (format == LogFormat::logfmt) {
    if (!out.empty()) out.push_back(' ');
    append_key(key, out);
    out.push_back('=');
  } else {
    out.append(out.size() > 1 ? ",\"" : "\"");
    append_key(key, out);
    out.append("\":");
  }
  append_value(format, value, out);
}

}  // namespace

std::string timestamp(std::int64_t unix_ms) {
  using std::chrono::milliseconds;
  const std::chrono::sys_time<milliseconds> time{milliseconds(unix_ms)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text.data();
}

std::string format(LogFormat format, std::int64_t unix_ms, LogLevel level, std::string_view event,
                   std::initializer_list<LogField> fields) {
  std::string line = format == LogFormat::json ? "{" : "";
  append_field(format, "ts", timestamp(unix_ms), line);
  append_field(format, "level", name_of(level), line);
  append_field(format, "event", event, line);
  for (const LogField& field : fields) append_field(format, field.key, field.value, line);
  if (format == LogFormat::json) line.push_back('}');
  return line;
}

}  // namespace fieldgate::log_line
