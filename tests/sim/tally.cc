// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/tally.h"

#include <algorithm>

namespace fieldgate::sim {
namespace {

constexpr std::size_t k_examples_max = 5;

std::string where(std::string_view device, std::uint64_t stream, std::uint64_t seq) {
  return std::string(device) + " stream " + std::to_string(stream) + " seq " + std::to_string(seq);
}

// The lowest of 1..entry.acked that is neither here nor rejected; 0: none.
std::uint64_t first_missing(const SeqSet& arrived, const StreamEntry& entry) {
  for (std::uint64_t seq = 1; seq <= entry.acked; ++seq) {
    if (!arrived.contains(seq) && !std::ranges::binary_search(entry.rejected, seq)) return seq;
  }
  return 0;
}

}  // namespace

void Tally::add(std::string_view device, std::uint64_t stream, std::uint64_t seq,
                const std::optional<Inspection>& content, std::int64_t now_wall_us) {
  if (seq == 0) return;
  auto found = devices_.find(device);
  if (found == devices_.end()) found = devices_.emplace(std::string(device), std::vector<Stream>()).first;
  auto entry = std::ranges::find(found->second, stream, &Stream::id);
  if (entry == found->second.end()) entry = found->second.insert(entry, Stream{stream, {}});
  ++records_;
  const Arrival arrival = entry->arrived.add(seq);
  if (arrival == Arrival::duplicate) ++duplicates_;
  if (arrival == Arrival::out_of_order) ++out_of_order_;
  if (!content) return;
  if (!content->intact) {
    if (mismatched_++ == 0) first_mismatch_ = where(device, stream, seq);
  } else if (arrival != Arrival::duplicate) {
    latency_us_.add(now_wall_us - content->sent_us);
  }
}

const SeqSet* Tally::find(std::string_view device, std::uint64_t stream) const {
  const auto found = devices_.find(device);
  if (found == devices_.end()) return nullptr;
  const auto entry = std::ranges::find(found->second, stream, &Stream::id);
  return entry == found->second.end() ? nullptr : &entry->arrived;
}

Verdict Tally::judge(const Ledger& ledger) const {
  static const SeqSet k_nothing;
  Verdict verdict;
  for (const StreamEntry& entry : ledger.streams) {
    const SeqSet* found = find(entry.device, entry.stream);
    const SeqSet& arrived = found == nullptr ? k_nothing : *found;
    const auto excused = static_cast<std::uint64_t>(std::ranges::count_if(
        entry.rejected, [&](std::uint64_t seq) { return seq <= entry.acked && !arrived.contains(seq); }));
    const std::uint64_t lost = entry.acked - arrived.count_through(entry.acked) - excused;
    if (lost > 0 && verdict.examples.size() < k_examples_max) {
      verdict.examples.push_back("lost: " + where(entry.device, entry.stream, first_missing(arrived, entry)) +
                                 (lost > 1 ? " and " + std::to_string(lost - 1) + " more of " : " of ") +
                                 std::to_string(entry.acked));
    }
    verdict.lost += lost;
    const std::uint64_t extra = arrived.size() - arrived.count_through(entry.given);
    if (extra > 0 && verdict.examples.size() < k_examples_max) {
      verdict.examples.push_back("never sent: " + where(entry.device, entry.stream, arrived.highest()));
    }
    verdict.extra += extra;
  }
  return verdict;
}

}  // namespace fieldgate::sim
