// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/in_flight.h"

#include <algorithm>

namespace fieldgate::mqtt {

void InFlight::add(int packet_id, Message message, Monotonic now) {
  ++counts_[static_cast<std::size_t>(message.kind)];
  entries_.push_back({packet_id, now, std::move(message)});
}

std::optional<InFlight::Taken> InFlight::take(int packet_id) {
  const auto it = std::ranges::find(entries_, packet_id, &Entry::packet_id);
  if (it == entries_.end()) return std::nullopt;
  Taken taken{std::move(it->message), it->sent};
  entries_.erase(it);
  --counts_[static_cast<std::size_t>(taken.message.kind)];
  return taken;
}

std::vector<Message> InFlight::drain() {
  std::vector<Message> all;
  all.reserve(entries_.size());
  for (Entry& entry : entries_) all.push_back(std::move(entry.message));
  entries_.clear();
  counts_.fill(0);
  return all;
}

}  // namespace fieldgate::mqtt
