// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/lane_filter.h"

#include <algorithm>
#include <optional>

namespace fieldgate {
namespace {

constexpr std::size_t k_pattern_bytes_max = 256;
// What labels of a Hello may be.
constexpr std::size_t k_label_key_bytes_max = 64;
constexpr std::size_t k_label_value_bytes_max = 256;

// `*` and `?` only; linear in the product of the lengths, which are small.
bool glob(std::string_view pattern, std::string_view text) noexcept {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

const std::string* value_of(const std::vector<std::pair<std::string, std::string>>& labels, std::string_view key) {
  const auto at =
      std::ranges::lower_bound(labels, key, {}, [](const auto& label) { return std::string_view(label.first); });
  return at != labels.end() && at->first == key ? &at->second : nullptr;
}

std::optional<RecordKind> kind_of(std::string_view name) {
  for (std::size_t i = 0; i < k_record_kinds; ++i) {
    if (to_string(static_cast<RecordKind>(i)) == name) return static_cast<RecordKind>(i);
  }
  return std::nullopt;
}

std::string kinds() {
  std::string text = "one of ";
  for (std::size_t i = 0; i < k_record_kinds; ++i) {
    if (i > 0) text += ", ";
    text += to_string(static_cast<RecordKind>(i));
  }
  return text;
}

}  // namespace

std::string device_pattern_fault(std::string_view pattern) {
  if (pattern.empty() || pattern.size() > k_pattern_bytes_max) return "must be 1 to 256 bytes long";
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._:-*?").find(c) != std::string_view::npos;
  };
  if (std::ranges::all_of(pattern, fits)) return {};
  return "may hold what device ids may (letters, digits, . _ : -) and the wildcards * and ?";
}

std::optional<LaneFilter::Label> LaneFilter::parse_label(std::string_view selector) {
  Label label;
  std::string_view key = selector;
  if (selector.starts_with('!')) {
    label.test = Label::Test::absent;
    key.remove_prefix(1);
    if (key.find_first_of("=!") != std::string_view::npos) return std::nullopt;
  } else if (const std::size_t at = selector.find_first_of("=!"); at == std::string_view::npos) {
    label.test = Label::Test::present;
  } else {
    const bool equal = selector[at] == '=';
    if (!equal && selector.substr(at, 2) != "!=") return std::nullopt;
    label.test = equal ? Label::Test::equal : Label::Test::not_equal;
    key = selector.substr(0, at);
    label.value = selector.substr(at + (equal ? 1 : 2));
  }
  if (key.empty() || key.size() > k_label_key_bytes_max || label.value.size() > k_label_value_bytes_max) {
    return std::nullopt;
  }
  label.key = key;
  return label;
}

std::string label_selector_fault(std::string_view selector) {
  if (LaneFilter::parse_label(selector)) return {};
  return "must be KEY=VALUE, KEY!=VALUE, KEY or !KEY, with a KEY of 1 to 64 bytes without = and !, and a VALUE of at "
         "most 256 bytes";
}

Result<LaneFilter> LaneFilter::make(const LaneFilterSettings& settings) {
  LaneFilter filter;
  if (!settings.kinds.empty()) {
    filter.kinds_.fill(false);
    for (const std::string& name : settings.kinds) {
      const auto kind = kind_of(name);
      if (!kind) return make_error(Errc::invalid_argument, "'" + name + "' is not a kind of record: " + kinds());
      filter.kinds_[static_cast<std::size_t>(*kind)] = true;
    }
  }
  for (const std::string& pattern : settings.devices) {
    if (const std::string fault = device_pattern_fault(pattern); !fault.empty()) {
      return make_error(Errc::invalid_argument, "the device pattern '" + pattern + "' " + fault);
    }
  }
  filter.devices_ = settings.devices;
  for (const std::string& selector : settings.labels) {
    auto label = parse_label(selector);
    if (!label) {
      return make_error(Errc::invalid_argument,
                        "the label condition '" + selector + "' " + label_selector_fault(selector));
    }
    filter.labels_.push_back(std::move(*label));
  }
  return filter;
}

bool LaneFilter::matches(std::string_view device,
                         const std::vector<std::pair<std::string, std::string>>& labels) const {
  const auto fits = [&](const std::string& pattern) { return glob(pattern, device); };
  if (!devices_.empty() && std::ranges::none_of(devices_, fits)) return false;
  return std::ranges::all_of(labels_, [&](const Label& label) {
    const std::string* value = value_of(labels, label.key);
    switch (label.test) {
      case Label::Test::equal: return value != nullptr && *value == label.value;
      case Label::Test::not_equal: return value == nullptr || *value != label.value;
      case Label::Test::present: return value != nullptr;
      case Label::Test::absent: break;
    }
    return value == nullptr;
  });
}

LaneSet LaneFilters::match(std::string_view device,
                           const std::vector<std::pair<std::string, std::string>>& labels) const {
  LaneSet lanes = k_every_lane;
  for (const auto& [slot, filter] : filters_) {
    if (!filter.matches(device, labels)) lanes &= ~(LaneSet{1} << slot);
  }
  return lanes;
}

}  // namespace fieldgate
