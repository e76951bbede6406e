// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/metrics.h"

#include "adapters/wire/text.h"
#include "gateway/core/ids.h"

#include <bit>
#include <string>

namespace fieldgate::wire {
namespace {

// Field numbers: proto/fieldgate/v1/device.proto.
constexpr Shape k_telemetry{bits(1, 3), bits(1, 1)};
constexpr Shape k_sample{bits(1, 3), bits(3, 3)};
constexpr Shape k_metric{bits(1, 7), 0};
constexpr std::uint32_t k_metric_values = bits(2, 6);
constexpr std::uint32_t k_sample_times = bits(1, 2);
constexpr std::uint64_t k_quality_last = 3;

MetricQuality quality_of(std::uint64_t number) noexcept {
  switch (number) {
    case 2: return MetricQuality::uncertain;
    case 3: return MetricQuality::bad;
    default: return MetricQuality::good;
  }
}

std::int64_t zigzag(std::uint64_t n) noexcept { return static_cast<std::int64_t>(n >> 1 ^ (~(n & 1) + 1)); }

bool check_name(std::string_view name, Fault& fault) {
  if (name.empty()) return refuse(fault, "name is missing");
  if (name.size() > k_name_bytes_max) return refuse(fault, RejectCode::too_large, "name is over 128 bytes");
  return is_plain_text(name) || refuse(fault, "name is not UTF-8 without control characters");
}

std::string indexed(std::string_view field, std::size_t i, std::string_view rest) {
  return std::string(field) + "[" + std::to_string(i) + "]" + std::string(rest);
}

}  // namespace

void Metrics::clear() noexcept {
  metrics_.clear();
  samples_.clear();
  unknown_fields_ = 0;
  historical_ = false;
}

bool Metrics::read_metric(std::string_view message, Fault& fault) {
  if (metrics_.size() >= limits_.metrics_per_frame) {
    return refuse(fault, RejectCode::too_large,
                  "more than " + std::to_string(limits_.metrics_per_frame) + " metrics in the frame");
  }
  Metric& metric = metrics_.emplace_back();
  std::string_view long_value;
  MessageReader in(message, k_metric, unknown_fields_);
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1): metric.name = in.bytes(); break;
      case fixed64(2): metric.value = std::bit_cast<double>(in.value()); break;
      case varint(3): metric.value = zigzag(in.value()); break;
      case varint(4): metric.value = in.value() != 0; break;
      case delimited(5): metric.value = long_value = in.bytes(); break;
      case delimited(6): metric.value = MetricBytes{long_value = in.bytes()}; break;
      case varint(7):
        if (in.value() > k_quality_last) return refuse(fault, "unknown quality");
        metric.quality = quality_of(in.value());
        break;
      default: return in.wrong_type(fault);
    }
  }
  if (!in.finish(fault) || !check_name(metric.name, fault)) return false;
  const std::uint32_t values = in.seen() & k_metric_values;
  if (values == 0 || (values & (values - 1)) != 0) {
    return refuse(fault, values == 0 ? "no value" : "more than one value");
  }
  return long_value.empty() || check_value(metric.value, long_value, fault);
}

bool Metrics::check_value(const MetricValue& value, std::string_view text, Fault& fault) const {
  if (text.size() > limits_.value_bytes_max) {
    return refuse(fault, RejectCode::too_large, "value is over " + std::to_string(limits_.value_bytes_max) + " bytes");
  }
  if (std::holds_alternative<std::string_view>(value) && !is_utf8(text)) {
    return refuse(fault, "string_value is not valid UTF-8");
  }
  return true;
}

bool Metrics::read_sample(std::string_view message, Fault& fault) {
  const std::size_t first = metrics_.size();
  Sample sample;
  MessageReader in(message, k_sample, unknown_fields_);
  while (in.next()) {
    switch (in.tag()) {
      case varint(1):
        if (!is_unix_ms(in.value())) return refuse(fault, ".unix_ms is not between 1970 and 2200");
        sample.timing = Timing::wall_clock;
        sample.time_ms = in.value();
        break;
      case varint(2):
        sample.timing = Timing::uptime;
        sample.time_ms = in.value();
        break;
      case delimited(3): {
        const std::size_t i = metrics_.size() - first;
        if (!read_metric(in.bytes(), fault)) return refused_in(fault, indexed(".metrics", i, ": "));
        break;
      }
      default: in.wrong_type(fault); return refused_in(fault, ": ");
    }
  }
  if (!in.finish(fault)) return refused_in(fault, ": ");
  if ((in.seen() & k_sample_times) == k_sample_times) return refuse(fault, ": both unix_ms and at_uptime_ms");
  if (metrics_.size() == first) return refuse(fault, ": no metrics");
  sample.metrics_end = static_cast<std::uint32_t>(metrics_.size());
  samples_.push_back(sample);
  return true;
}

bool Metrics::read_telemetry(std::string_view message, std::int64_t now_unix_ms, Fault& fault) {
  std::uint64_t uptime_ms = 0;
  MessageReader in(message, k_telemetry, unknown_fields_);
  while (in.next()) {
    switch (in.tag()) {
      case delimited(1):
        if (!read_sample(in.bytes(), fault))
          return refused_in(fault, indexed("telemetry.samples", samples_.size(), ""));
        break;
      case varint(2): uptime_ms = in.value(); break;
      case varint(3): historical_ = in.value() != 0; break;
      default: in.wrong_type(fault); return refused_in(fault, "telemetry: ");
    }
  }
  if (!in.finish(fault)) return refused_in(fault, "telemetry: ");
  if (samples_.empty()) return refuse(fault, "telemetry: no samples");
  return resolve_times(uptime_ms, now_unix_ms, fault);
}

// Only now, since uptime_ms follows the samples on the wire.
bool Metrics::resolve_times(std::uint64_t uptime_ms, std::int64_t now_unix_ms, Fault& fault) {
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    Sample& sample = samples_[i];
    switch (sample.timing) {
      case Timing::receipt: sample.unix_ms = now_unix_ms; break;
      case Timing::wall_clock: sample.unix_ms = static_cast<std::int64_t>(sample.time_ms); break;
      case Timing::uptime: {
        if (sample.time_ms > uptime_ms) {
          return refuse(fault, indexed("telemetry.samples", i,
                                       uptime_ms == 0 ? ".at_uptime_ms needs telemetry.uptime_ms"
                                                      : ".at_uptime_ms is after telemetry.uptime_ms"));
        }
        const std::uint64_t age = uptime_ms - sample.time_ms;
        if (now_unix_ms < 0 || age > static_cast<std::uint64_t>(now_unix_ms)) {
          return refuse(fault, indexed("telemetry.samples", i, ".at_uptime_ms is before 1970"));
        }
        sample.unix_ms = now_unix_ms - static_cast<std::int64_t>(age);
        break;
      }
    }
  }
  return true;
}

void Metrics::emit(MetricSink& sink) const {
  std::size_t i = 0;
  for (const Sample& sample : samples_) {
    for (; i < sample.metrics_end; ++i) {
      sink.metric(metrics_[i].name, metrics_[i].value, sample.unix_ms, metrics_[i].quality);
    }
  }
}

}  // namespace fieldgate::wire
