// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <variant>

namespace fieldgate {

// A key and its value; borrowed for the length of the call.
struct LogField {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;

  template <std::integral T>
  LogField(std::string_view k, T v) : key(k), value(convert(v)) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}

  std::string_view key;
  Value value;

 private:
  template <std::integral T>
  static Value convert(T v) {
    if constexpr (std::same_as<T, bool>) {
      return v;
    } else if constexpr (std::signed_integral<T>) {
      return static_cast<std::int64_t>(v);
    } else {
      return static_cast<std::uint64_t>(v);
    }
  }
};

// Structured log. `event` is a constant snake_case name; what varies is in fields.
// Any thread; never blocks (what cannot be queued is dropped and counted); escapes
// and truncates values, so that they may come from a peer. Never throws.
class Log {
 public:
  virtual ~Log() = default;
  virtual bool enabled(LogLevel level) const noexcept = 0;
  virtual void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) noexcept = 0;

  void debug(std::string_view event, std::initializer_list<LogField> f = {}) noexcept {
    pass(LogLevel::debug, event, f);
  }
  void info(std::string_view event, std::initializer_list<LogField> f = {}) noexcept { pass(LogLevel::info, event, f); }
  void warn(std::string_view event, std::initializer_list<LogField> f = {}) noexcept { pass(LogLevel::warn, event, f); }
  void error(std::string_view event, std::initializer_list<LogField> f = {}) noexcept {
    pass(LogLevel::error, event, f);
  }

 private:
  void pass(LogLevel level, std::string_view event, std::initializer_list<LogField> f) noexcept {
    if (enabled(level)) write(level, event, f);
  }
};

}  // namespace fieldgate
