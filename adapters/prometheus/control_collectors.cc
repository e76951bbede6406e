// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/collectors.h"

#include <array>

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
