// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

namespace fieldgate::wire {

enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, length_delimited = 2, fixed32 = 5 };

// A field's tag as it stands on the wire.
constexpr std::uint32_t varint(std::uint32_t number) noexcept { return number << 3; }
constexpr std::uint32_t fixed64(std::uint32_t number) noexcept { return number << 3 | 1; }
constexpr std::uint32_t delimited(std::uint32_t number) noexcept { return number << 3 | 2; }

// Walks the fields of one protobuf message (protobuf.dev, "Encoding") where it
// lies: nothing is copied, nothing allocated, nothing nested is opened.
// Stricter than the format: no groups, no tag or length of more than five bytes,
// no varint beyond 64 bits. So what this takes, any protobuf library takes.
//
// Small enough to live in registers: whatever is rare is a static function that
// gets and gives values, so that no reader needs an address.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) noexcept : at_(message.data()), end_(at_ + message.size()) {}

  // Moves on to the next field. False at the end, and where the bytes are not a
  // field: malformed() tells which.
  [[gnu::always_inline]] bool next() noexcept {
    if (at_ == end_) return false;
    std::uint64_t tag = 0;
    if (!read_varint(tag, 5) || tag < 8 || tag > std::numeric_limits<std::uint32_t>::max()) return fail();
    tag_ = static_cast<std::uint32_t>(tag);
    switch (static_cast<WireType>(tag_ & 7U)) {
      case WireType::length_delimited: return read_bytes() || fail();
      case WireType::varint: return read_varint(value_, 10) || fail();
      case WireType::fixed64: return read_fixed<std::uint64_t>() || fail();
      case WireType::fixed32: return read_fixed<std::uint32_t>() || fail();
    }
    return fail();
  }

  bool malformed() const noexcept { return malformed_; }
  std::uint32_t tag() const noexcept { return tag_; }
  std::uint32_t number() const noexcept { return tag_ >> 3; }
  // Of a varint or fixed field.
  std::uint64_t value() const noexcept { return value_; }
  // Of a length-delimited field.
  std::string_view bytes() const noexcept { return bytes_; }

 private:
  static_assert(std::endian::native == std::endian::little, "fixed fields are read as they lie");

  struct Varint {
    std::uint64_t value;
    const char* end;  // nullptr: not a varint
  };

  bool fail() noexcept {
    malformed_ = true;
    at_ = end_;
    return false;
  }

  [[gnu::always_inline]] bool read_varint(std::uint64_t& out, int bytes_max) noexcept {
    if (at_ != end_ && static_cast<unsigned char>(*at_) < 0x80) {
      out = static_cast<unsigned char>(*at_++);
      return true;
    }
    const Varint varint = read_long_varint(at_, end_, bytes_max);
    if (varint.end == nullptr) return false;
    at_ = varint.end;
    out = varint.value;
    return true;
  }

  [[gnu::noinline]] static Varint read_long_varint(const char* at, const char* end, int bytes_max) noexcept {
    std::uint64_t value = 0;
    for (int shift = 0; bytes_max > 0 && at != end; --bytes_max, shift += 7) {
      const auto byte = static_cast<unsigned char>(*at++);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
      if (byte < 0x80) return {value, at};
    }
    return {0, nullptr};
  }

  [[gnu::always_inline]] bool read_bytes() noexcept {
    std::uint64_t size = 0;
    if (!read_varint(size, 5) || size > static_cast<std::size_t>(end_ - at_)) return false;
    bytes_ = {at_, static_cast<std::size_t>(size)};
    at_ += size;
    return true;
  }

  template <class T>
  [[gnu::always_inline]] bool read_fixed() noexcept {
    if (static_cast<std::size_t>(end_ - at_) < sizeof(T)) return false;
    T value = 0;
    std::memcpy(&value, at_, sizeof(T));
    value_ = value;
    at_ += sizeof(T);
    return true;
  }

  const char* at_;
  const char* end_;
  std::uint32_t tag_ = 0;
  bool malformed_ = false;
  std::uint64_t value_ = 0;
  std::string_view bytes_;
};

}  // namespace fieldgate::wire
