// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/prometheus/exporter.h"
#include "adapters/prometheus/process_stats.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
struct ClientMetric;
}

namespace fieldgate::metrics {

enum class MetricType : std::uint8_t { counter, gauge, histogram };
std::string_view to_string(MetricType type) noexcept;

// What is read from the sources once for a whole exposition, so that the values of
// one exposition agree with each other.
struct Snapshot {
  const Sources& sources;
  std::vector<LaneStatus> lanes;
  Readiness readiness;
  std::optional<SpoolUsage> spool;
  SpoolMarks spool_marks;
  std::vector<DeadLetterUsage> dead_letters;
  ProcessStats process;
};

struct MetricInfo;

// Takes the values of one metric.
class Samples {
 public:
  Samples(const MetricInfo& info, std::vector<::prometheus::ClientMetric>& out) : info_(info), out_(out) {}

  // `labels`: a value for each of the metric's label names, in their order.
  void add(double value, std::initializer_list<std::string_view> labels = {});
  // The sum of the histograms. Thread: they may be written meanwhile.
  void add(std::span<const HistogramCell* const> histograms, std::initializer_list<std::string_view> labels = {});

 private:
  ::prometheus::ClientMetric& labelled(std::initializer_list<std::string_view> labels);

  const MetricInfo& info_;
  std::vector<::prometheus::ClientMetric>& out_;
};

struct MetricInfo {
  std::string_view name;
  std::string_view help;
  MetricType type;
  std::vector<std::string_view> labels;
  void (*collect)(const Snapshot& snapshot, Samples& out);
};

// Every metric there is: the one place where they are declared. docs/metrics.md
// is held against it by a test.
const std::vector<MetricInfo>& metric_table();

}  // namespace fieldgate::metrics
