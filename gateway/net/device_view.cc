// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/device_view.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fieldgate::net {
namespace {

std::string_view quality_name(MetricQuality quality) {
  switch (quality) {
    case MetricQuality::uncertain: return "uncertain";
    case MetricQuality::bad: return "bad";
    case MetricQuality::good: break;
  }
  return "good";
}

struct OwnValue {
  LastValue& out;
  void operator()(std::string_view text) const { out.value = std::string(text); }
  void operator()(const MetricBytes& bytes) const {
    const auto view = std::as_bytes(std::span(bytes.data));
    out.value = std::vector<std::byte>(view.begin(), view.end());
  }
  template <class T>
  void operator()(T scalar) const {
    out.value = scalar;
  }
};

}  // namespace

DeviceSummary summary_of(const DeviceState& state, bool online, Epoch epoch, std::optional<EndReason> last_end) {
  DeviceSummary summary{state.id,
                        online,
                        epoch,
                        state.since_unix_ms,
                        state.last_seen_unix_ms,
                        state.last_data_unix_ms,
                        state.profile.firmware,
                        state.profile.labels,
                        {}};
  if (!online && last_end) summary.reason = to_string(*last_end);
  return summary;
}

DeviceDetail detail_of(const DeviceState& state, bool online, Epoch epoch, std::optional<EndReason> last_end) {
  DeviceDetail detail(summary_of(state, online, epoch, last_end));
  for (const StreamMarks& marks : state.streams.all()) {
    if (marks.id.value == 0) continue;
    detail.streams.push_back({marks.id, marks.received, marks.forwarded, marks.gaps, marks.duplicates});
  }
  state.last_values.for_each(
      [&](std::string_view name, const MetricValue& value, std::int64_t unix_ms, MetricQuality quality) {
        LastValue& out = detail.last_values.emplace_back();
        out.name = name;
        out.unix_ms = unix_ms;
        out.quality = quality_name(quality);
        std::visit(OwnValue{out}, value);
      });
  std::ranges::sort(detail.last_values, {}, &LastValue::name);
  detail.truncated = state.last_values.truncated();
  return detail;
}

}  // namespace fieldgate::net
