// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/dead_letter_index.h"

#include <algorithm>

namespace fieldgate::spool {

std::uint64_t DeadLetterIndex::bytes_of(const DeadLetter& letter) noexcept {
  constexpr std::uint64_t k_numbers = 96;  // ids, times and lengths
  return k_numbers + letter.lane.size() + letter.device.size() + letter.name.size() + letter.target.size() +
         letter.reason.size() + letter.detail.size() + letter.payload.size();
}

std::vector<std::uint64_t> DeadLetterIndex::add(std::uint64_t id, std::string_view lane, std::uint64_t bytes) {
  std::vector<std::uint64_t> gone;
  const std::size_t index = lane_index(lane);
  if (bytes > bytes_max_) {  // no use in giving up all others for it
    ++lanes_[index].evicted;
    gone.push_back(id);
    return gone;
  }
  while (bytes > bytes_max_ - bytes_) {
    const auto oldest = letters_.begin();
    ++lanes_[oldest->second.lane].evicted;
    gone.push_back(oldest->first);
    drop(oldest);
  }
  letters_.emplace(id, Entry{index, bytes});
  bytes_ += bytes;
  ++lanes_[index].letters;
  lanes_[index].bytes += bytes;
  return gone;
}

bool DeadLetterIndex::remove(std::uint64_t id) {
  const auto at = letters_.find(id);
  if (at == letters_.end()) return false;
  drop(at);
  return true;
}

std::vector<std::uint64_t> DeadLetterIndex::after(std::uint64_t after, std::string_view lane, std::size_t limit) const {
  std::vector<std::uint64_t> ids;
  for (auto at = letters_.upper_bound(after); at != letters_.end() && ids.size() < limit; ++at) {
    if (lane.empty() || lanes_[at->second.lane].lane == lane) ids.push_back(at->first);
  }
  return ids;
}

std::size_t DeadLetterIndex::lane_index(std::string_view lane) {
  const auto at = std::ranges::find(lanes_, lane, &DeadLetterUsage::lane);
  if (at != lanes_.end()) return static_cast<std::size_t>(at - lanes_.begin());
  lanes_.push_back({.lane = std::string(lane)});
  return lanes_.size() - 1;
}

DeadLetterIndex::Entries::iterator DeadLetterIndex::drop(Entries::iterator at) {
  const Entry& entry = at->second;
  bytes_ -= entry.bytes;
  --lanes_[entry.lane].letters;
  lanes_[entry.lane].bytes -= entry.bytes;
  return letters_.erase(at);
}

}  // namespace fieldgate::spool
