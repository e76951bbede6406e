// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/value.h"

#include "gateway/config/problem.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace fieldgate::config {
namespace {

constexpr std::uint64_t k_text_element_bytes_max = 256;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
// Largest first, as show_*() prefers them.
constexpr std::array<Unit, 3> k_size_units = {{{"GiB", 1U << 30}, {"MiB", 1U << 20}, {"KiB", 1U << 10}}};
constexpr std::array<Unit, 4> k_duration_units = {{{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

// "12KiB" -> 12 and the unit; nullptr where there is none of these.
template <std::size_t N>
const Unit* split_unit(std::string_view text, const std::array<Unit, N>& units, std::string_view& number) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  number = text.substr(0, digits);
  const auto unit = std::ranges::find(units, text.substr(digits), &Unit::name);
  return unit == units.end() ? nullptr : &*unit;
}

std::optional<std::uint64_t> scaled(std::string_view number, std::uint64_t factor) noexcept {
  const auto parsed = parse_unsigned(number);
  if (!parsed || *parsed > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
  return *parsed * factor;
}

Complaint must_be(std::string_view what, std::string_view text) {
  return std::string("must be ").append(what).append(", not ").append(quoted(text));
}

template <std::size_t N>
std::string show_scaled(std::uint64_t n, const std::array<Unit, N>& units, std::string_view unit_of_zero) {
  if (n == 0) return std::string("0").append(unit_of_zero);
  for (const Unit& unit : units) {
    if (n % unit.factor == 0) return std::to_string(n / unit.factor).append(unit.name);
  }
  return std::to_string(n);
}

bool is_address(int family, const std::string& text) {
  std::array<unsigned char, 16> scratch{};
  return inet_pton(family, text.c_str(), scratch.data()) == 1;
}

}  // namespace

std::string_view to_string(Shape shape) noexcept {
  switch (shape) {
    case Shape::flag: return "flag";
    case Shape::integer: return "integer";
    case Shape::size: return "size";
    case Shape::duration: return "duration";
    case Shape::text: return "text";
    case Shape::file: return "file";
    case Shape::secret: return "secret";
    case Shape::endpoint: return "endpoint";
    case Shape::choice: return "choice";
  }
  return "";
}

std::optional<std::uint64_t> parse_unsigned(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<Complaint> parse_integer(std::string_view text, const ValueInfo& info, std::uint64_t& out) {
  const auto number = parse_unsigned(text);
  if (!number || *number < info.min || *number > info.max) {
    return must_be("a whole number, " + info.range, text);
  }
  out = *number;
  return std::nullopt;
}

std::optional<Complaint> parse_size(std::string_view text, const ValueInfo& info, std::uint64_t& out) {
  std::string_view number;
  const Unit* unit = split_unit(text, k_size_units, number);
  const auto bytes = unit != nullptr ? scaled(number, unit->factor) : parse_unsigned(text);
  if (!bytes) return must_be("bytes, or a whole number with KiB, MiB or GiB, " + info.range, text);
  if (*bytes < info.min || *bytes > info.max) return must_be(info.range, text);
  out = *bytes;
  return std::nullopt;
}

std::optional<Complaint> parse_duration(std::string_view text, const ValueInfo& info, std::uint64_t& out_ms) {
  std::string_view number;
  const Unit* unit = split_unit(text, k_duration_units, number);
  const auto ms = unit != nullptr ? scaled(number, unit->factor) : std::nullopt;
  if (!ms) return must_be("a whole number with ms, s, m or h, " + info.range, text);
  if (*ms < info.min || *ms > info.max) return must_be(info.range, text);
  if (*ms % info.step_ms != 0) return must_be("a multiple of " + show_duration(info.step_ms) + ", " + info.range, text);
  out_ms = *ms;
  return std::nullopt;
}

std::optional<Complaint> check_text(std::string_view text, std::uint64_t bytes_max) {
  if (text.size() > bytes_max) return "must be at most " + std::to_string(bytes_max) + " bytes long";
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::ranges::any_of(text, is_control)) return "must not contain control characters";
  return std::nullopt;
}

std::string show_size(std::uint64_t bytes) { return show_scaled(bytes, k_size_units, ""); }
std::string show_duration(std::uint64_t ms) { return show_scaled(ms, k_duration_units, "s"); }

std::optional<Complaint> check_choice(std::string_view text, const std::vector<std::string>& choices) {
  if (std::ranges::find(choices, text) != choices.end()) return std::nullopt;
  std::string words;
  for (const std::string& word : choices) words.append(words.empty() ? "one of " : ", ").append(word);
  Complaint complaint = must_be(words, text);
  const std::string_view near = nearest_name(text, choices);
  if (!near.empty()) complaint.append("; did you mean ").append(near).append("?");
  return complaint;
}

std::optional<Complaint> Flag::set(std::string_view text) {
  if (text != "true" && text != "false") return must_be("true or false", text);
  target_ = text == "true";
  return std::nullopt;
}

std::optional<Complaint> Text::set(std::string_view text) {
  if (auto complaint = check_text(text, bytes_max_)) return complaint;
  if (check_ != nullptr) {
    if (auto complaint = check_(text)) return complaint->append(", not ").append(quoted(text));
  }
  target_ = text;
  return std::nullopt;
}

std::optional<Complaint> File::set(std::string_view text) {
  if (auto complaint = check_text(text, info().max)) return complaint;
  target_ = text;
  return std::nullopt;
}

std::optional<Complaint> SecretText::set(std::string_view text) {
  if (auto complaint = check_text(text, info().max)) return complaint;
  target_.value = text;
  return std::nullopt;
}

std::optional<Complaint> EndpointValue::set(std::string_view text) {
  const std::string what = "a numeric ADDRESS:PORT such as 0.0.0.0:8443 or \"[::1]:8443\"";
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return must_be(what, text);
  const auto port = parse_unsigned(text.substr(colon + 1));
  if (!port || *port > 65'535) return must_be(what + " with a port of 0 to 65535", text);
  std::string address(text.substr(0, colon));
  if (address == "localhost") return must_be(what + " (localhost is 127.0.0.1 or [::1])", text);
  const bool bracketed = address.size() > 2 && address.front() == '[' && address.back() == ']';
  if (bracketed) address = address.substr(1, address.size() - 2);
  if (!is_address(bracketed ? AF_INET6 : AF_INET, address)) return must_be(what, text);
  target_ = {std::move(address), static_cast<std::uint16_t>(*port)};
  return std::nullopt;
}

std::string EndpointValue::show() const {
  const bool v6 = target_.address.find(':') != std::string::npos;
  return (v6 ? "[" + target_.address + "]" : target_.address) + ":" + std::to_string(target_.port);
}

ValueInfo TextList::element_info() const {
  ValueInfo info{.shape = choices_.empty() ? Shape::text : Shape::choice,
                 .range = {},
                 .max = k_text_element_bytes_max,
                 .choices = choices_};
  for (const std::string& word : choices_) info.range.append(info.range.empty() ? "of " : ", ").append(word);
  return info;
}

std::optional<Complaint> TextList::check(std::string_view element) const {
  if (auto complaint = check_text(element, k_text_element_bytes_max)) return complaint;
  if (!choices_.empty()) return check_choice(element, choices_);
  if (check_ == nullptr) return std::nullopt;
  auto complaint = check_(element);
  return complaint ? complaint->append(", not ").append(quoted(element)) : complaint;
}

}  // namespace fieldgate::config
