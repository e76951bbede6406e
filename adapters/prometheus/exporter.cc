// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/exporter.h"

#include "adapters/prometheus/metric_table.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <sstream>

namespace fieldgate::metrics {
namespace {

::prometheus::MetricType library_type(MetricType type) {
  switch (type) {
    case MetricType::counter: return ::prometheus::MetricType::Counter;
    case MetricType::gauge: return ::prometheus::MetricType::Gauge;
    case MetricType::histogram: return ::prometheus::MetricType::Histogram;
  }
  return ::prometheus::MetricType::Untyped;
}

}  // namespace

class Exporter::Impl final : public ::prometheus::Collectable {
 public:
  explicit Impl(Sources sources) : sources_(std::move(sources)) {}

  std::vector<::prometheus::MetricFamily> Collect() const override {
    Snapshot snapshot{sources_, {}, {}, {}, {}, {}, process_.read()};
    if (sources_.status != nullptr) {
      snapshot.lanes = sources_.status->lanes();
      snapshot.readiness = sources_.status->readiness();
    }
    // Marks before usage: nothing is durable that was not appended.
    if (sources_.spool_marks) snapshot.spool_marks = sources_.spool_marks();
    if (sources_.spool) snapshot.spool = sources_.spool();
    if (sources_.dead_letters) snapshot.dead_letters = sources_.dead_letters();
    std::vector<::prometheus::MetricFamily> families;
    families.reserve(metric_table().size());
    for (const MetricInfo& info : metric_table()) {
      ::prometheus::MetricFamily family;
      family.name = info.name;
      family.help = info.help;
      family.type = library_type(info.type);
      Samples samples(info, family.metric);
      info.collect(snapshot, samples);
      if (!family.metric.empty()) families.push_back(std::move(family));
    }
    return families;
  }

 private:
  const Sources sources_;
  const ProcessReader process_;
};

Exporter::Exporter(Sources sources) : impl_(std::make_unique<Impl>(std::move(sources))) {}
Exporter::~Exporter() = default;

std::string Exporter::text() const {
  std::ostringstream out;
  ::prometheus::TextSerializer().Serialize(out, impl_->Collect());
  return std::move(out).str();
}

}  // namespace fieldgate::metrics
