// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

namespace fieldgate {

enum class MetricQuality : std::uint8_t { good, uncertain, bad };

struct MetricBytes {
  std::string_view data;
};

// A metric's value, borrowed from wherever it is kept.
using MetricValue = std::variant<double, std::int64_t, bool, std::string_view, MetricBytes>;

}  // namespace fieldgate
