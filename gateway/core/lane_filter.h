// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/ids.h"
#include "gateway/core/record.h"
#include "gateway/core/settings.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate {

// Which records a lane wants. Conditions of different sorts must all hold; of one
// sort, any device pattern, but every label condition. An empty sort asks nothing.
// Thread: any; immutable.
class LaneFilter {
 public:
  LaneFilter() = default;  // everything

  // devices: ids in which * stands for any characters and ? for one.
  // labels:  KEY=VALUE, KEY!=VALUE (also true without KEY), KEY (is there), !KEY.
  // Errors: Errc::invalid_argument, naming the element and what it must look like.
  static Result<LaneFilter> make(const LaneFilterSettings& settings);

  // Decided once per connection. `labels` sorted by key.
  bool matches(std::string_view device, const std::vector<std::pair<std::string, std::string>>& labels) const;
  // Decided per record.
  bool takes(RecordKind kind) const noexcept { return kinds_[static_cast<std::size_t>(kind)]; }

 private:
  struct Label {
    std::string key;
    std::string value;
    enum class Test : std::uint8_t { equal, not_equal, present, absent } test = Test::equal;
  };
  static std::optional<Label> parse_label(std::string_view selector);
  friend std::string label_selector_fault(std::string_view selector);

  static constexpr std::array<bool, k_record_kinds> k_all = {true, true, true, true, true, true};
  std::array<bool, k_record_kinds> kinds_ = k_all;
  std::vector<std::string> devices_;
  std::vector<Label> labels_;
};

// Says what is wrong with one element of LaneFilterSettings; empty: nothing.
std::string device_pattern_fault(std::string_view pattern);
std::string label_selector_fault(std::string_view selector);

// Every lane's filter under its slot.
// Thread: any; immutable.
class LaneFilters {
 public:
  LaneFilters() = default;  // no lane filters by device or label
  // Precondition: slots below k_lanes_max, each once.
  explicit LaneFilters(std::vector<std::pair<std::uint32_t, LaneFilter>> filters) : filters_(std::move(filters)) {}

  LaneSet match(std::string_view device, const std::vector<std::pair<std::string, std::string>>& labels) const;

 private:
  std::vector<std::pair<std::uint32_t, LaneFilter>> filters_;
};

}  // namespace fieldgate
