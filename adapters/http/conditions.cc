// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/conditions.h"

#include "adapters/http/text.h"

#include <charconv>

namespace fieldgate::http {
namespace {

std::optional<std::uint64_t> number_of(std::string_view tag, char letter) {
  if (tag.size() < 4 || tag.front() != '"' || tag[1] != letter || tag.back() != '"') return std::nullopt;
  std::uint64_t number = 0;
  const char* end = tag.data() + tag.size() - 1;
  const auto [at, ec] = std::from_chars(tag.data() + 2, end, number);
  if (ec != std::errc() || at != end) return std::nullopt;
  return number;
}

bool is_tag(std::string_view text) {
  if (text.starts_with("W/")) text.remove_prefix(2);
  return text.size() >= 2 && text.front() == '"' && text.find('"', 1) == text.size() - 1;
}

}  // namespace

Conditions read_conditions(const Head& head, char letter) {
  Conditions out;
  const std::string* match = head.header("if-match");
  const std::string* none_match = head.header("if-none-match");
  if (match != nullptr && none_match != nullptr) {
    out.fault = "If-Match and If-None-Match are not for the same request";
  } else if (none_match != nullptr) {
    out.must_be_new = trim(*none_match) == "*";
    if (!out.must_be_new) out.fault = "If-None-Match: want * here, which means: only if it is not there yet";
  } else if (match != nullptr) {
    const std::string_view tag = trim(*match);
    out.must_exist = tag == "*";
    if (out.must_exist) return out;
    if (!is_tag(tag)) {
      out.fault =
          std::string("If-Match: want * or one entity tag with its quotation marks, such as \"") + letter + "7\"";
      return out;
    }
    out.expected = number_of(tag, letter);
    out.cannot_hold = !out.expected.has_value();
  }
  return out;
}

}  // namespace fieldgate::http
