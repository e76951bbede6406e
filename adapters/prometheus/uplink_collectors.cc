// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/collectors.h"

namespace fieldgate::metrics {

namespace {

std::uint64_t last_position(const SpoolUsage& usage) { return usage.next.value > 0 ? usage.next.value - 1 : 0; }

// Records beyond `mark`.
void add_lag(const Snapshot& in, LogPosition mark, Samples& out) {
  if (!in.spool || !in.sources.spool_marks) return;
  const std::uint64_t last = last_position(*in.spool);
  out.add(static_cast<double>(last > mark.value ? last - mark.value : 0));
}

}  // namespace

void uplink_appended(const Snapshot& in, Samples& out) {
  if (in.spool) out.add(static_cast<double>(last_position(*in.spool)));
}

void uplink_level(const Snapshot& in, Samples& out) {
  if (!in.sources.uplink_level) return;
  const UplinkLevel now = in.sources.uplink_level();
  for (const UplinkLevel level : {UplinkLevel::normal, UplinkLevel::reduced, UplinkLevel::withheld}) {
    out.add(now == level ? 1 : 0, {to_string(level)});
  }
}

void spool_state(const Snapshot& in, Samples& out) {
  if (!in.spool) return;
  for (std::size_t i = 0; i < k_spool_states; ++i) {
    const auto state = static_cast<SpoolState>(i);
    out.add(in.spool->state == state ? 1 : 0, {to_string(state)});
  }
}

void spool_undurable(const Snapshot& in, Samples& out) { add_lag(in, in.spool_marks.durable_through, out); }

void spool_uncheckpointed(const Snapshot& in, Samples& out) { add_lag(in, in.spool_marks.checkpoint, out); }

void spool_file_bytes(const Snapshot& in, Samples& out) {
  if (in.sources.spool_probe != nullptr) out.add(static_cast<double>(in.sources.spool_probe->file_bytes.get()));
}

void spool_commit_time(const Snapshot& in, Samples& out) {
  if (in.sources.spool_probe == nullptr) return;
  const std::array<const HistogramCell*, 1> one = {&in.sources.spool_probe->commit_time};
  out.add(one);
}

}  // namespace fieldgate::metrics
