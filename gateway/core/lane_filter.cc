// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/lane_filter.h"

#include <algorithm>
#include <optional>

namespace fieldgate {
namespace {

constexpr std::size_t k_pattern_bytes_max = 256;

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
  const auto at = std::ranges::lower_bound(labels, key, {}, [](const auto& label) { return std::string_view(label.first); });
  return at != labels.end() && at->first == key ? &at->second : nullptr;
}

std::optional<RecordKind> kind_of(std::string_view name) {
  for (std::size_t i = 0; i < k_record_kinds; ++i) {
    if (to_string(static_cast<RecordKind>(i)) == name) return static_cast<RecordKind>(i);
  }
  return std::nullopt;
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

std::string label_selector_fault(std::string_view selector) {
  std::string_view key = selector.substr(0, selector.find_first_of("=!", 1));
  if (key.starts_with('!')) key.remove_prefix(1);
  const std::string_view rest = selector.substr(static_cast<std::size_t>(key.data() + key.size() - selector.data()));
  const bool negated = selector.starts_with('!');
  const bool right = !key.empty() && key.size() <= k_pattern_bytes_max &&
                     (rest.empty() || (!negated && (rest.starts_with("=") || rest.starts_with("!="))));
  return right ? std::string() : "must be KEY=VALUE, KEY!=VALUE, KEY or !KEY";
}

Result<LaneFilter> LaneFilter::make(const LaneFilterSettings& settings) {
  LaneFilter filter;
  if (!settings.kinds.empty()) {
    filter.kinds_.fill(false);
    for (const std::string& name : settings.kinds) {
      const auto kind = kind_of(name);
      if (!kind) return make_error(Errc::invalid_argument, "'" + name + "' is not a kind of record");
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
    if (const std::string fault = label_selector_fault(selector); !fault.empty()) {
      return make_error(Errc::invalid_argument, "the label condition '" + selector + "' " + fault);
    }
    Label label;
    const std::size_t at = selector.find_first_of("=!", 1);
    label.key = selector.substr(0, at);
    if (at == std::string::npos) {
      label.test = selector.starts_with('!') ? Label::Test::absent : Label::Test::present;
      if (label.test == Label::Test::absent) label.key.erase(0, 1);
    } else {
      label.test = selector[at] == '=' ? Label::Test::equal : Label::Test::not_equal;
      label.value = selector.substr(at + (selector[at] == '=' ? 1 : 2));
    }
    filter.labels_.push_back(std::move(label));
  }
  return filter;
}

bool LaneFilter::matches(std::string_view device, const std::vector<std::pair<std::string, std::string>>& labels) const {
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
