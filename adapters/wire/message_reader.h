// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/wire/field_reader.h"
#include "gateway/ports/wire.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::wire {

// The first rule that a message breaks. The text never repeats what the peer sent.
struct Fault {
  RejectCode code = RejectCode::malformed;
  std::string text;
};

// Both return false, so that a check can end with them.
inline bool refuse(Fault& fault, RejectCode code, std::string text) {
  fault = {code, std::move(text)};
  return false;
}
inline bool refuse(Fault& fault, std::string text) { return refuse(fault, RejectCode::malformed, std::move(text)); }
// Says where, in front of what an inner check has said.
inline bool refused_in(Fault& fault, std::string_view where) {
  fault.text.insert(0, where);
  return false;
}

// Largest sequence number taken: room for arithmetic, and for consumers whose
// integers are signed.
inline constexpr std::uint64_t k_seq_max = (std::uint64_t{1} << 63) - 1;

// Which field numbers a message has, as bits. Numbers up to 31.
struct Shape {
  std::uint32_t known;
  std::uint32_t repeated;
};

constexpr std::uint32_t bits(std::uint32_t first, std::uint32_t last) noexcept {
  return (last == 31 ? ~0U : (1U << (last + 1)) - 1) & ~((1U << first) - 1);
}

// Fields unknown here that a frame may still carry, over all its parts: they cost
// this reader nothing, but every consumer's parser keeps them one by one.
inline constexpr std::uint32_t k_unknown_fields_max = 64;

// Walks the known fields of one message. A field that is there twice though it is
// not repeated ends the walk: parsers merge such messages silently (which is what
// concatenated messages amount to), and two readers might not agree on the value.
class MessageReader {
 public:
  MessageReader(std::string_view message, Shape shape, std::uint32_t& unknown_fields) noexcept
      : field_(message), shape_(shape), unknown_fields_(unknown_fields) {}

  // False at the end or at a fault: finish() tells.
  [[gnu::always_inline]] bool next() noexcept {
    while (field_.next()) {
      const std::uint32_t bit = field_.number() < 32 ? 1U << field_.number() : 0U;
      if ((bit & shape_.known) == 0) {
        if (++unknown_fields_ > k_unknown_fields_max) return false;
        continue;
      }
      if ((seen_ & bit & ~shape_.repeated) != 0) {
        twice_ = true;
        return false;
      }
      seen_ |= bit;
      return true;
    }
    return false;
  }

  // To be called once next() has returned false: whether the whole message was
  // read without a fault.
  [[gnu::always_inline]] bool finish(Fault& fault) const {
    if (!field_.malformed() && !twice_ && unknown_fields_ <= k_unknown_fields_max) [[likely]]
      return true;
    return explain(field_.malformed(), twice_ ? field_.number() : 0, fault);
  }

  // For a known field whose tag no case has taken.
  bool wrong_type(Fault& fault) const { return wrong_type(field_.number(), fault); }

  std::uint32_t tag() const noexcept { return field_.tag(); }
  std::uint64_t value() const noexcept { return field_.value(); }
  std::string_view bytes() const noexcept { return field_.bytes(); }
  // Bits of the field numbers seen so far.
  std::uint32_t seen() const noexcept { return seen_; }

 private:
  [[gnu::noinline]] static bool explain(bool malformed, std::uint32_t twice, Fault& fault) {
    if (malformed) return refuse(fault, "not a protobuf message");
    if (twice != 0) return refuse(fault, "field " + std::to_string(twice) + " is set twice");
    return refuse(fault, RejectCode::too_large, "too many unknown fields");
  }
  [[gnu::noinline]] static bool wrong_type(std::uint32_t number, Fault& fault) {
    return refuse(fault, "field " + std::to_string(number) + " has the wrong type");
  }

  FieldReader field_;
  Shape shape_;
  std::uint32_t seen_ = 0;
  bool twice_ = false;
  std::uint32_t& unknown_fields_;
};

}  // namespace fieldgate::wire
