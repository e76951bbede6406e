// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/frames.h"
#include "tests/sim/histogram.h"
#include "tests/sim/ledger.h"
#include "tests/sim/seq_set.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fieldgate::sim {

// What became of everything that a ledger claims.
struct Verdict {
  std::uint64_t lost = 0;             // acknowledged, and never arrived
  std::uint64_t extra = 0;            // arrived with a sequence number never given out
  std::vector<std::string> examples;  // of both, a few, for a person
};

// Everything that arrived at the broker, per device and stream.
// Bounds: 16 bytes for each gapless run of a stream.
class Tally {
 public:
  // One record. `content` is nullopt where the payload cannot be looked into.
  void add(std::string_view device, std::uint64_t stream, std::uint64_t seq, const std::optional<Inspection>& content,
           std::int64_t now_wall_us);

  std::uint64_t records() const noexcept { return records_; }
  std::uint64_t duplicates() const noexcept { return duplicates_; }
  std::uint64_t out_of_order() const noexcept { return out_of_order_; }
  std::uint64_t mismatched() const noexcept { return mismatched_; }
  const std::string& first_mismatch() const noexcept { return first_mismatch_; }
  // From the making of a frame at the device to its first arrival here.
  const Histogram& latency_us() const noexcept { return latency_us_; }

  // Only what `ledger` names counts: others may use the broker too.
  Verdict judge(const Ledger& ledger) const;

 private:
  struct Stream {
    std::uint64_t id;
    SeqSet arrived;
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };
  const SeqSet* find(std::string_view device, std::uint64_t stream) const;

  std::unordered_map<std::string, std::vector<Stream>, TextHash, std::equal_to<>> devices_;
  std::uint64_t records_ = 0;
  std::uint64_t duplicates_ = 0;
  std::uint64_t out_of_order_ = 0;
  std::uint64_t mismatched_ = 0;
  std::string first_mismatch_;
  Histogram latency_us_;
};

}  // namespace fieldgate::sim
