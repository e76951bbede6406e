// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/json_check.h"

#include "gateway/core/hex.h"

#include <cstddef>
#include <cstdint>

namespace fieldgate::wire {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Goes through the text once. Every step returns false at the first problem and
// leaves it in problem_, and the place in at_.
class Checker {
 public:
  explicit Checker(std::string_view text) noexcept : text_(text) {}

  std::optional<std::string> run() {
    space();
    if (peek() != '{') {
      problem_ = "not a JSON object";
    } else if (document()) {
      space();
      if (at_ == text_.size()) return std::nullopt;
      problem_ = "more than one JSON value";
    }
    return std::string(problem_) + " at byte " + std::to_string(at_);
  }

 private:
  static constexpr char k_end = '\0';  // never valid where it is looked for

  char peek() const noexcept { return at_ < text_.size() ? text_[at_] : k_end; }

  bool fail(const char* problem) noexcept {
    problem_ = problem;
    return false;
  }

  bool take(char c) noexcept {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  void space() noexcept {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool in_object() const noexcept { return (objects_ >> (depth_ - 1) & 1U) != 0; }

  // Containers are kept as one bit each instead of on the call stack.
  bool open(bool object) noexcept {
    if (depth_ == k_json_depth_max) return fail("nested too deeply");
    ++at_;
    objects_ = (objects_ & ~(std::uint64_t{1} << depth_)) | (std::uint64_t{object} << depth_);
    ++depth_;
    return true;
  }

  // One turn of the loop reads one value, or the opening of a container, and then
  // every closing that follows.
  bool document() noexcept {
    do {
      space();
      const char c = peek();
      const bool opened = c == '{' || c == '[';
      if (opened ? !open(c == '{') : !scalar()) return false;
      if (!after(opened)) return false;
    } while (depth_ > 0);
    return true;
  }

  // From behind a value (or an opening) to before the next value, or to the end.
  bool after(bool opened) noexcept {
    while (depth_ > 0) {
      space();
      if (take(in_object() ? '}' : ']')) {
        --depth_;
        opened = false;
        continue;
      }
      if (!opened && !take(',')) return fail(in_object() ? "expected , or }" : "expected , or ]");
      return !in_object() || key();
    }
    return true;
  }

  bool key() noexcept {
    space();
    if (peek() != '"') return fail("expected a key");
    if (!string()) return false;
    space();
    return take(':') || fail("expected :");
  }

  bool scalar() noexcept {
    switch (peek()) {
      case '"': return string();
      case 't': return literal("true");
      case 'f': return literal("false");
      case 'n': return literal("null");
      default: return number();
    }
  }

  bool literal(std::string_view word) noexcept {
    if (text_.substr(at_, word.size()) != word) return fail("expected a value");
    at_ += word.size();
    return true;
  }

  bool digits() noexcept {
    if (!is_digit(peek())) return fail("expected a digit");
    while (is_digit(peek())) ++at_;
    return true;
  }

  bool number() noexcept {
    const bool negative = take('-');
    if (!is_digit(peek())) return fail(negative ? "expected a digit" : "expected a value");
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }

  bool string() noexcept {
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') return take('"');
      if (static_cast<unsigned char>(c) < 0x20) return fail("control character in a string");
      ++at_;
      if (c == '\\' && !escape()) return false;
    }
    return fail("unfinished string");
  }

  bool escape() noexcept {
    const char c = peek();
    if (c == 'u') {
      ++at_;
      unsigned unit = 0;
      if (!code_unit(unit)) return false;
      if (unit >= 0xdc00 && unit <= 0xdfff) return fail("lone surrogate");
      if (unit < 0xd800 || unit > 0xdbff) return true;
      if (!take('\\') || !take('u')) return fail("lone surrogate");
      return code_unit(unit) && ((unit >= 0xdc00 && unit <= 0xdfff) || fail("lone surrogate"));
    }
    if (c == k_end || std::string_view("\"\\/bfnrt").find(c) == std::string_view::npos) return fail("unknown escape");
    ++at_;
    return true;
  }

  bool code_unit(unsigned& unit) noexcept {
    unit = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const int digit = hex_digit(peek());
      if (digit < 0) return fail("expected a hexadecimal digit");
      unit = unit * 16 + static_cast<unsigned>(digit);
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  unsigned depth_ = 0;
  std::uint64_t objects_ = 0;  // bit i: level i + 1 is an object
  const char* problem_ = "";
};

}  // namespace

std::optional<std::string> json_object_problem(std::string_view text) { return Checker(text).run(); }

}  // namespace fieldgate::wire
