// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/fleet_query.h"

#include <algorithm>

namespace fieldgate {
namespace {

// Length first, so that no two lists of parts give the same text.
void add(std::string& text, std::string_view part) {
  text += std::to_string(part.size());
  text += ':';
  text += part;
}

void add_flag(std::string& text, const std::optional<bool>& flag) { text += !flag ? '-' : *flag ? '1' : '0'; }

void add_number(std::string& text, const std::optional<std::int64_t>& number) {
  add(text, number ? std::to_string(*number) : std::string());
}

void add_optional(std::string& text, const std::optional<std::string>& part) {
  text += part ? '1' : '0';
  add(text, part ? std::string_view(*part) : std::string_view());
}

// A line feed goes before each label and behind the last, and this between key and value.
constexpr char k_between = '\x01';

void add_plain(std::string& text, std::string_view part) {
  for (const char c : part) text += c >= 0 && c < 0x20 ? '\x02' : c;
}

}  // namespace

std::string label_text(const Labels& labels) {
  std::string text;
  for (const auto& [key, value] : labels) {
    text += '\n';
    add_plain(text, key);
    text += k_between;
    add_plain(text, value);
  }
  return text += '\n';
}

std::string label_needle(const LabelCondition& condition) {
  using Is = LabelCondition::Is;
  std::string text = "\n";
  add_plain(text, condition.key);
  text += k_between;
  if (condition.is == Is::present || condition.is == Is::absent) return text;
  add_plain(text, condition.value);
  return text += '\n';
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

std::uint64_t FleetQuery::fingerprint() const {
  std::string print;
  for (const auto& flag : {online, inactive, registered, enabled}) add_flag(print, flag);
  for (const auto& number : {inactive_for_ms, last_seen_after, last_seen_before}) add_number(print, number);
  for (const auto* part : {&firmware, &node, &reason}) add_optional(print, *part);
  print += static_cast<char>('0' + static_cast<int>(sort));
  print += descending ? 'd' : 'a';
  add(print, id_prefix);
  add(print, text);
  for (const LabelCondition& label : labels) {
    add(print, label.key);
    print += static_cast<char>('0' + static_cast<int>(label.is));
    add(print, label.value);
  }
  return stable_hash(print);
}

}  // namespace fieldgate
