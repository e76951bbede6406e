// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/stats.h"

#include <numeric>

namespace fieldgate::sim {

std::string_view to_string(Loss loss) noexcept {
  constexpr std::array<std::string_view, k_losses> k_names = {
      "connect_refused", "connect_failed",    "connect_timeout",   "no_descriptor",
      "tls_failed",      "upgrade_refused",   "upgrade_malformed", "reset",
      "unclean_end",     "closed_by_gateway", "closed_by_device",  "close_timeout",
      "websocket_fault", "welcome_timeout",   "heartbeat_lost",    "dropped"};
  return k_names[static_cast<std::size_t>(loss)];
}

void Stats::merge(const Stats& other) {
  static constexpr std::uint64_t Stats::*k_counts[] = {
      &Stats::connects,       &Stats::opens,           &Stats::tls_resumed,
      &Stats::welcomes,       &Stats::reconnects,      &Stats::frames_made,
      &Stats::frames_sent,    &Stats::frames_resent,   &Stats::bytes_sent,
      &Stats::frames_acked,   &Stats::frames_rejected, &Stats::frames_withheld,
      &Stats::acks,           &Stats::throttles,       &Stats::pings_answered,
      &Stats::times,          &Stats::commands,        &Stats::commands_repeated,
      &Stats::cancels,        &Stats::desireds,        &Stats::streams_restarted,
      &Stats::acked_forgotten};
  for (const auto count : k_counts) this->*count += other.*count;
  for (std::size_t i = 0; i < k_losses; ++i) losses[i] += other.losses[i];
  const auto add = [](auto& into, const auto& from) {
    for (const auto& [key, count] : from) into[key] += count;
  };
  add(close_codes, other.close_codes);
  add(http_statuses, other.http_statuses);
  add(goodbyes, other.goodbyes);
  add(stages, other.stages);
  add(violations, other.violations);
  open_us.merge(other.open_us);
  welcome_us.merge(other.welcome_us);
  ack_us.merge(other.ack_us);
  rtt_us.merge(other.rtt_us);
}

std::uint64_t Stats::failures() const noexcept {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < k_losses; ++i) {
    const auto loss = static_cast<Loss>(i);
    if (loss != Loss::closed_by_device && loss != Loss::closed_by_gateway && loss != Loss::dropped) total += losses[i];
  }
  return total;
}

std::uint64_t Stats::violations_total() const noexcept {
  return std::accumulate(violations.begin(), violations.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& entry) { return sum + entry.second; });
}

}  // namespace fieldgate::sim
