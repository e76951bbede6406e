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

}  // namespace

bool fits(const Labels& labels, const LabelCondition& condition) noexcept {
  using Is = LabelCondition::Is;
  const auto at = std::lower_bound(labels.begin(), labels.end(), condition.key,
                                   [](const auto& label, const std::string& key) { return label.first < key; });
  const bool present = at != labels.end() && at->first == condition.key;
  switch (condition.is) {
    case Is::present: return present;
    case Is::absent: return !present;
    case Is::equal: return present && at->second == condition.value;
    case Is::different: return !present || at->second != condition.value;
  }
  return false;
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
