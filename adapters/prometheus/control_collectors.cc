// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/collectors.h"

#include <array>
#include <chrono>

namespace fieldgate::metrics {

void command_time(const Snapshot& in, Samples& out) {
  if (in.sources.commands == nullptr) return;
  for (std::size_t i = 0; i < k_command_states; ++i) {
    const auto state = static_cast<CommandState>(i);
    if (!is_final(state)) continue;
    const std::array<const HistogramCell*, 1> one = {&in.sources.commands->ended[i]};
    out.add(one, {to_string(state)});
  }
}

void hold_ends(const Snapshot& in, Samples& out) {
  if (in.sources.shards.empty()) return;
  for (std::size_t i = 0; i < k_hold_ends.size(); ++i) {
    std::uint64_t sum = 0;
    for (const ShardProbe* shard : in.sources.shards) sum += shard->hold_ends[i].get();
    out.add(static_cast<double>(sum), {k_hold_ends[i]});
  }
}

void lease_renewals(const Snapshot& in, Samples& out) {
  if (in.sources.membership == nullptr) return;
  out.add(static_cast<double>(in.sources.membership->leases.get()), {"renewed"});
  out.add(static_cast<double>(in.sources.membership->lease_failures.get()), {"failed"});
}

void membership_age_of(const Snapshot& in, Samples& out, MomentCell MembershipProbe::*moment) {
  if (in.sources.membership == nullptr || in.sources.clock == nullptr) return;
  const auto at = (in.sources.membership->*moment).get();
  if (at) out.add(std::chrono::duration<double>(in.sources.clock->now() - *at).count());
}

void peer_drops(const Snapshot& in, Samples& out) {
  if (in.sources.peers == nullptr) return;
  for (std::size_t i = 0; i < k_peer_drops.size(); ++i) {
    out.add(static_cast<double>(in.sources.peers->dropped[i].get()), {k_peer_drops[i]});
  }
}

void peer_answer_time(const Snapshot& in, Samples& out) {
  if (in.sources.peers == nullptr) return;
  const std::array<const HistogramCell*, 1> one = {&in.sources.peers->answer_time};
  out.add(one);
}

}  // namespace fieldgate::metrics
