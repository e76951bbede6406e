// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::wire {

// Appends protobuf fields to a string. As proto3 wants it, what is zero or empty is
// left out.
class FieldWriter {
 public:
  explicit FieldWriter(std::string& out) noexcept : out_(out) {}

  void number(std::uint32_t field, std::uint64_t value) {
    if (value == 0) return;
    raw(field << 3);
    raw(value);
  }

  void text(std::uint32_t field, std::string_view value) {
    if (value.empty()) return;
    raw(field << 3 | 2U);
    raw(value.size());
    out_.append(value);
  }

  // A message of its own, written by `write(*this)`; also when it is empty.
  template <class Write>
  void message(std::uint32_t field, Write&& write) {
    raw(field << 3 | 2U);
    const std::size_t start = out_.size();
    write(*this);
    // The length goes in front and is known only now. These messages are small.
    std::string length;
    FieldWriter(length).raw(out_.size() - start);
    out_.insert(start, length);
  }

 private:
  void raw(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }

  std::string& out_;
};

}  // namespace fieldgate::wire
