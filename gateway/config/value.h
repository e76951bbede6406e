// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// How each type of setting is read, checked, shown and described. One of these
// is made, for a moment, around a member of Settings.
namespace fieldgate::config {

// A text for people, to follow the key's name: "must be 1 to 9, not 12".
using Complaint = std::string;

enum class Shape : std::uint8_t { flag, integer, size, duration, text, file, secret, endpoint, choice };
std::string_view to_string(Shape shape) noexcept;

struct ValueInfo {
  Shape shape = Shape::text;
  // For people; empty: anything.
  std::string range;
  // Bounds of integers, sizes (bytes), durations (milliseconds) and, max alone,
  // of texts (bytes).
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  // Durations are multiples of this many milliseconds.
  std::uint64_t step_ms = 1;
  std::vector<std::string> choices;
};

// One setting, whatever its type.
class Value {
 public:
  virtual ~Value() = default;
  virtual ValueInfo info() const = 0;
  // Takes the value that `text` stands for; on a complaint nothing has changed.
  virtual std::optional<Complaint> set(std::string_view text) = 0;
  // As set() would read it; "***" for a secret that is set.
  virtual std::string show() const = 0;
  // Differs wherever the value does; never to be shown.
  virtual std::string fingerprint() const { return show(); }
};

// Says what a text must be, or nothing if it is right.
using TextCheck = std::optional<Complaint> (*)(std::string_view);

std::optional<std::uint64_t> parse_unsigned(std::string_view text) noexcept;
std::optional<Complaint> parse_integer(std::string_view text, const ValueInfo& info, std::uint64_t& out);
std::optional<Complaint> parse_size(std::string_view text, const ValueInfo& info, std::uint64_t& out);
std::optional<Complaint> parse_duration(std::string_view text, const ValueInfo& info, std::uint64_t& out_ms);
std::optional<Complaint> check_text(std::string_view text, std::uint64_t bytes_max);
std::string show_size(std::uint64_t bytes);
std::string show_duration(std::uint64_t ms);
// One of `choices`, or a complaint with the nearest.
std::optional<Complaint> check_choice(std::string_view text, const std::vector<std::string>& choices);

// true or false.
class Flag final : public Value {
 public:
  explicit Flag(bool& target) : target_(target) {}
  ValueInfo info() const override { return {.shape = Shape::flag, .range = "true or false", .choices = {}}; }
  std::optional<Complaint> set(std::string_view text) override;
  std::string show() const override { return target_ ? "true" : "false"; }

 private:
  bool& target_;
};

// A whole number.
template <std::unsigned_integral T>
class Number final : public Value {
 public:
  Number(T& target, std::uint64_t min, std::uint64_t max = std::numeric_limits<T>::max())
      : target_(target), min_(min), max_(max) {}
  ValueInfo info() const override {
    return {.shape = Shape::integer,
            .range = std::to_string(min_) + " to " + std::to_string(max_),
            .min = min_,
            .max = max_,
            .choices = {}};
  }
  std::optional<Complaint> set(std::string_view text) override {
    std::uint64_t number = 0;
    if (auto complaint = parse_integer(text, info(), number)) return complaint;
    target_ = static_cast<T>(number);
    return std::nullopt;
  }
  std::string show() const override { return std::to_string(target_); }

 private:
  T& target_;
  std::uint64_t min_;
  std::uint64_t max_;
};

// Bytes: a whole number, or one with KiB, MiB or GiB.
template <std::unsigned_integral T>
class Size final : public Value {
 public:
  Size(T& target, std::uint64_t min, std::uint64_t max) : target_(target), min_(min), max_(max) {}
  ValueInfo info() const override {
    return {.shape = Shape::size,
            .range = show_size(min_) + " to " + show_size(max_),
            .min = min_,
            .max = max_,
            .choices = {}};
  }
  std::optional<Complaint> set(std::string_view text) override {
    std::uint64_t bytes = 0;
    if (auto complaint = parse_size(text, info(), bytes)) return complaint;
    target_ = static_cast<T>(bytes);
    return std::nullopt;
  }
  std::string show() const override { return show_size(target_); }

 private:
  T& target_;
  std::uint64_t min_;
  std::uint64_t max_;
};

// A whole number with ms, s, m or h, and a multiple of what D counts.
template <class D>
class Duration final : public Value {
 public:
  Duration(D& target, milliseconds min, milliseconds max)
      : target_(target), min_(static_cast<std::uint64_t>(min.count())), max_(static_cast<std::uint64_t>(max.count())) {}
  ValueInfo info() const override {
    return {.shape = Shape::duration,
            .range = show_duration(min_) + " to " + show_duration(max_),
            .min = min_,
            .max = max_,
            .step_ms = milliseconds(D(1)).count(),
            .choices = {}};
  }
  std::optional<Complaint> set(std::string_view text) override {
    std::uint64_t ms = 0;
    if (auto complaint = parse_duration(text, info(), ms)) return complaint;
    target_ = std::chrono::duration_cast<D>(milliseconds(ms));
    return std::nullopt;
  }
  std::string show() const override { return show_duration(static_cast<std::uint64_t>(milliseconds(target_).count())); }

 private:
  D& target_;
  std::uint64_t min_;
  std::uint64_t max_;
};

// Free text without control characters.
class Text final : public Value {
 public:
  explicit Text(std::string& target, std::uint64_t bytes_max = 256, TextCheck check = nullptr)
      : target_(target), bytes_max_(bytes_max), check_(check) {}
  ValueInfo info() const override { return {.shape = Shape::text, .range = {}, .max = bytes_max_, .choices = {}}; }
  std::optional<Complaint> set(std::string_view text) override;
  std::string show() const override { return target_; }

 private:
  std::string& target_;
  std::uint64_t bytes_max_;
  TextCheck check_;
};

// The path of a file that the process reads; empty: none.
class File final : public Value {
 public:
  explicit File(std::string& target) : target_(target) {}
  ValueInfo info() const override { return {.shape = Shape::file, .range = {}, .max = 4'096, .choices = {}}; }
  std::optional<Complaint> set(std::string_view text) override;
  std::string show() const override { return target_; }

 private:
  std::string& target_;
};

// A text that no complaint and no print-out repeats.
class SecretText final : public Value {
 public:
  explicit SecretText(Secret& target) : target_(target) {}
  ValueInfo info() const override { return {.shape = Shape::secret, .range = {}, .max = 4'096, .choices = {}}; }
  std::optional<Complaint> set(std::string_view text) override;
  std::string show() const override { return target_.value.empty() ? "" : "***"; }
  std::string fingerprint() const override { return target_.value; }

 private:
  Secret& target_;
};

// ADDRESS:PORT with a numeric address, IPv6 in brackets.
class EndpointValue final : public Value {
 public:
  explicit EndpointValue(Endpoint& target) : target_(target) {}
  ValueInfo info() const override {
    return {.shape = Shape::endpoint, .range = "a numeric ADDRESS:PORT", .choices = {}};
  }
  std::optional<Complaint> set(std::string_view text) override;
  std::string show() const override;

 private:
  Endpoint& target_;
};

// One of a few words.
template <class E>
class Choice final : public Value {
 public:
  Choice(E& target, std::initializer_list<std::pair<std::string_view, E>> choices)
      : target_(target), choices_(choices) {}
  ValueInfo info() const override {
    ValueInfo info{.shape = Shape::choice, .range = "one of", .choices = {}};
    for (const auto& [word, value] : choices_) {
      info.range.append(info.choices.empty() ? " " : ", ").append(word);
      info.choices.emplace_back(word);
    }
    return info;
  }
  std::optional<Complaint> set(std::string_view text) override {
    for (const auto& [word, value] : choices_) {
      if (word == text) {
        target_ = value;
        return std::nullopt;
      }
    }
    return check_choice(text, info().choices);
  }
  std::string show() const override {
    for (const auto& [word, value] : choices_) {
      if (value == target_) return std::string(word);
    }
    return {};
  }

 private:
  E& target_;
  std::vector<std::pair<std::string_view, E>> choices_;
};

// Several texts, each of which `element_check` (if given) and `choices` (if any) allow.
class TextList {
 public:
  TextList(std::vector<std::string>& target, std::size_t size_max, TextCheck element_check)
      : target_(target), size_max_(size_max), check_(element_check) {}
  TextList(std::vector<std::string>& target, std::size_t size_max, std::vector<std::string> choices)
      : target_(target), size_max_(size_max), choices_(std::move(choices)) {}
  ValueInfo element_info() const;
  std::size_t size_max() const noexcept { return size_max_; }
  std::optional<Complaint> check(std::string_view element) const;
  void set(std::vector<std::string> elements) { target_ = std::move(elements); }
  const std::vector<std::string>& get() const noexcept { return target_; }

 private:
  std::vector<std::string>& target_;
  std::size_t size_max_;
  TextCheck check_ = nullptr;
  std::vector<std::string> choices_;
};

}  // namespace fieldgate::config
