// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/metric_table.h"

#include <prometheus/client_metric.h>

#include <cassert>
#include <limits>

namespace fieldgate::metrics {
namespace {

double seconds_of(std::uint64_t us) { return static_cast<double>(us) / 1e6; }

}  // namespace

std::string_view to_string(MetricType type) noexcept {
  switch (type) {
    case MetricType::counter: return "counter";
    case MetricType::gauge: return "gauge";
    case MetricType::histogram: return "histogram";
  }
  return "unknown";
}

::prometheus::ClientMetric& Samples::labelled(std::initializer_list<std::string_view> labels) {
  assert(labels.size() == info_.labels.size());
  ::prometheus::ClientMetric& metric = out_.emplace_back();
  auto name = info_.labels.begin();
  for (const std::string_view value : labels) {
    metric.label.push_back({std::string(*name), std::string(value)});
    ++name;
  }
  return metric;
}

void Samples::add(double value, std::initializer_list<std::string_view> labels) {
  ::prometheus::ClientMetric& metric = labelled(labels);
  (info_.type == MetricType::counter ? metric.counter.value : metric.gauge.value) = value;
}

void Samples::add(std::span<const HistogramCell* const> histograms, std::initializer_list<std::string_view> labels) {
  ::prometheus::ClientMetric::Histogram& out = labelled(labels).histogram;
  std::uint64_t sum_us = 0;
  for (const HistogramCell* cell : histograms) sum_us += cell->sum_us();
  out.sample_sum = seconds_of(sum_us);
  for (std::size_t i = 0; i < HistogramCell::k_buckets; ++i) {
    for (const HistogramCell* cell : histograms) out.sample_count += cell->bucket(i);
    const double bound = i < HistogramCell::k_bounds_us.size() ? seconds_of(HistogramCell::k_bounds_us[i])
                                                               : std::numeric_limits<double>::infinity();
    out.bucket.push_back({out.sample_count, bound});
  }
}

}  // namespace fieldgate::metrics
