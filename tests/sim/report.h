// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/mqtt_subscriber.h"
#include "tests/sim/tally.h"
#include "tests/sim/worker.h"

#include <cstdint>
#include <optional>
#include <string>

namespace fieldgate::sim {

// What the verifying subscriber found.
struct VerifyReport {
  std::uint64_t messages = 0;
  std::uint64_t records = 0;
  std::uint64_t presence_records = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t out_of_order = 0;
  std::uint64_t mismatched = 0;
  std::uint64_t unreadable = 0;
  std::uint64_t broker_reconnects = 0;
  std::uint64_t broker_sessions_lost = 0;
  std::string first_mismatch;
  Verdict verdict;
  Histogram latency_us;
};
VerifyReport make_verify_report(const MqttSubscriber& subscriber, const Ledger& ledger);

// Everything a run has to say at its end.
struct Report {
  std::string profile;
  double seconds = 0;
  std::uint64_t devices = 0;
  std::uint64_t frames_sent = 0;
  std::uint64_t frames_acked = 0;
  std::optional<Snapshot> fleet;  // nullopt: the verifier alone
  std::uint64_t online_peak = 0;
  std::uint64_t unacked_at_end = 0;
  bool sends_data = true;  // false: the silent profile
  bool require_order = false;
  std::optional<VerifyReport> verify;
};

// Empty: all is well. Else what is not, for a person.
std::string fault(const Report& report);
// Several lines for a person; the last is "summary: devices=... p99_ms=...".
// What was not verified is "n/a".
std::string to_text(const Report& report);
std::string to_json(const Report& report);

}  // namespace fieldgate::sim
