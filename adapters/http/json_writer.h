// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::http {

// Writes one JSON text (RFC 8259), front to back. Strings may hold anything: what
// is not UTF-8 becomes U+FFFD. Integers beyond +-2^53 are written as strings, for
// most readers would round them.
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  // "NaN", "Infinity" and "-Infinity" for what JSON has no number for.
  JsonWriter& value(double number);
  JsonWriter& null() { return raw("null"); }
  // What is JSON already; not looked at.
  JsonWriter& json(std::string_view text) { return raw(text); }
  template <std::integral T>
  JsonWriter& value(T number) {
    if constexpr (std::same_as<T, bool>) {
      return raw(number ? "true" : "false");
    } else if constexpr (std::signed_integral<T>) {
      return integer(number < 0,
                     number < 0 ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number));
    } else {
      return integer(false, number);
    }
  }
  // A number that is a name rather than a quantity (epoch, stream, sequence
  // number): always as a string.
  JsonWriter& label(std::uint64_t number) { return value(std::string_view(std::to_string(number))); }
  // RFC 3339; null for 0, which stands for "never", and for what no calendar has.
  JsonWriter& time(std::int64_t unix_ms);

  template <class T>
  JsonWriter& field(std::string_view name, const T& v) {
    return key(name).value(v);
  }

  std::string take() && { return std::move(out_); }

 private:
  JsonWriter& open(char c);
  JsonWriter& close(char c);
  JsonWriter& raw(std::string_view text);
  JsonWriter& integer(bool negative, std::uint64_t magnitude);
  void comma();
  void quote(std::string_view text);

  std::string out_;
  bool comma_ = false;
};

}  // namespace fieldgate::http
