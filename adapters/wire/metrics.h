// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/wire/message_reader.h"
#include "gateway/core/metric_value.h"
#include "gateway/core/settings.h"
#include "gateway/ports/wire.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace fieldgate::wire {

// Milliseconds since 1970 at 2200-01-01T00:00:00Z: a wall clock at or after it is
// taken for broken.
inline constexpr std::int64_t k_unix_ms_end = 7'258'118'400'000;

constexpr bool is_unix_ms(std::uint64_t varint) noexcept {
  return varint < static_cast<std::uint64_t>(k_unix_ms_end);  // negative ones wrap to beyond
}

// The metrics of one frame, checked and kept as views into it until all of it has
// passed. Its memory is reused from frame to frame.
// Bounds: metrics_per_frame metrics, k_unknown_fields_max unknown fields.
class Metrics {
 public:
  explicit Metrics(const LimitSettings& limits) : limits_(limits) {}

  void clear() noexcept;
  // A Telemetry message. `now_unix_ms` times the samples that carry no time.
  bool read_telemetry(std::string_view message, std::int64_t now_unix_ms, Fault& fault);
  // A Metric that stands alone: an event's attribute.
  bool read_metric(std::string_view message, Fault& fault);
  void emit(MetricSink& sink) const;

  std::uint32_t samples() const noexcept { return static_cast<std::uint32_t>(samples_.size()); }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(metrics_.size()); }
  bool historical() const noexcept { return historical_; }
  // Unknown fields so far, over the whole frame; the frame's own are counted here too.
  std::uint32_t& unknown_fields() noexcept { return unknown_fields_; }

 private:
  struct Metric {
    std::string_view name;
    MetricValue value;
    MetricQuality quality = MetricQuality::good;
  };
  enum class Timing : std::uint8_t { receipt, wall_clock, uptime };
  struct Sample {
    Timing timing = Timing::receipt;
    std::uint64_t time_ms = 0;
    std::uint32_t metrics_end = 0;  // index into metrics_
    std::int64_t unix_ms = 0;       // resolved
  };

  bool read_sample(std::string_view message, Fault& fault);
  bool check_value(const MetricValue& value, std::string_view text, Fault& fault) const;
  bool resolve_times(std::uint64_t uptime_ms, std::int64_t now_unix_ms, Fault& fault);

  const LimitSettings& limits_;
  std::vector<Metric> metrics_;
  std::vector<Sample> samples_;
  std::uint32_t unknown_fields_ = 0;
  bool historical_ = false;
};

}  // namespace fieldgate::wire
