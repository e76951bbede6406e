// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"

#include <cstdint>
#include <string>
#include <vector>

namespace fieldgate::sim {

// One stream of one device as the device saw it.
struct StreamEntry {
  std::string device;
  std::uint64_t stream = 0;
  std::uint64_t given = 0;              // highest sequence number given out; none is skipped
  std::uint64_t acked = 0;              // all at or below are acknowledged
  std::vector<std::uint64_t> rejected;  // ascending; they need not arrive
  friend bool operator==(const StreamEntry&, const StreamEntry&) = default;
};

// What a simulator claims, for a verifier to hold against what arrived.
struct Ledger {
  std::uint64_t devices = 0;
  std::uint64_t frames_sent = 0;
  std::uint64_t frames_acked = 0;
  std::vector<StreamEntry> streams;

  void append(Ledger other);
};

// As JSON lines: a header, then a line per stream. Written to a file beside it
// and renamed, so that whoever sees the file sees all of it.
Outcome<void> write_ledger(const std::string& path, const Ledger& ledger);
Outcome<Ledger> read_ledger(const std::string& path);

}  // namespace fieldgate::sim
