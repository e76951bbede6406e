// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/sql_store.h"

#include <algorithm>
#include <numeric>

namespace fieldgate::store {
namespace {

// Above the epoch given last, above what the presence log has (a node without the store
// may have given that), and above $2. No row: not registered, or disabled, or the presence log
// has one above $3.
constexpr Statement k_claim{
    "INSERT INTO epochs (device_id, epoch) "
    "SELECT d.id, CASE WHEN p.epoch IS NOT NULL AND p.epoch > $2 THEN p.epoch ELSE $2 END + 1 "
    "FROM devices d LEFT JOIN presence p ON p.device_id = d.id "
    "WHERE d.id = $1 AND d.enabled = 1 AND (p.epoch IS NULL OR p.epoch <= $3) "
    "ON CONFLICT (device_id) DO UPDATE SET "
    "epoch = CASE WHEN epochs.epoch >= excluded.epoch THEN epochs.epoch + 1 ELSE excluded.epoch END "
    "RETURNING epoch"};
constexpr Statement k_enabled{"SELECT enabled FROM devices WHERE id = $1"};

}  // namespace

Result<std::vector<ClaimOutcome>> SqlStore::claim(std::span<const ClaimRequest> requests) {
  if (requests.empty()) return std::vector<ClaimOutcome>();
  return atomically([&]() -> Result<std::vector<ClaimOutcome>> {
    // In the order of ids, and of the requests for each.
    std::vector<std::size_t> order(requests.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order,
                             [&](std::size_t a, std::size_t b) { return requests[a].device < requests[b].device; });
    std::vector<ClaimOutcome> outcomes(requests.size(), EndReason::device_unknown);
    const auto missing = grant(requests, order, outcomes);
    if (!missing) return missing.error();
    if (missing->empty()) return outcomes;
    const auto registered = register_missing(requests, *missing, outcomes);
    if (!registered) return registered.error();
    if (const auto none = grant(requests, *registered, outcomes); !none) return none.error();
    return outcomes;
  });
}

Result<std::vector<std::size_t>> SqlStore::grant(std::span<const ClaimRequest> requests,
                                                 std::span<const std::size_t> which,
                                                 std::vector<ClaimOutcome>& outcomes) {
  std::vector<Call> calls;
  for (const std::size_t i : which) {
    const Epoch newest = requests[i].while_newest.value_or(Epoch{k_epoch_max});
    calls.push_back({&k_claim, {requests[i].device.str(), number(requests[i].at_least.value), number(newest.value)}});
  }
  std::vector<bool> granted(which.size(), false);
  const auto done = run_all(calls, [&](std::size_t index, const RowView& row) -> Result<void> {
    granted[index] = true;
    // What register_missing() said of it stays.
    const auto* before = std::get_if<ClaimGrant>(&outcomes[which[index]]);
    outcomes[which[index]] =
        ClaimGrant{.epoch = {row.number(0)}, .registered_now = before != nullptr && before->registered_now};
    return {};
  });
  if (!done) return done.error();
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < which.size(); ++i) {
    if (!granted[i]) missing.push_back(which[i]);
  }
  return missing;
}

Result<std::vector<std::size_t>> SqlStore::register_missing(std::span<const ClaimRequest> requests,
                                                            std::span<const std::size_t> missing,
                                                            std::vector<ClaimOutcome>& outcomes) {
  const bool may_register = std::ranges::any_of(missing, [&](std::size_t i) { return requests[i].auto_register; });
  std::uint64_t revision = 0;
  if (may_register) {  // from here on nobody else registers
    const auto counters = lock_counters();
    if (!counters) return counters.error();
    revision = counters->registry;
  }
  std::vector<Call> calls;
  for (const std::size_t i : missing) calls.push_back({&k_enabled, {requests[i].device.str()}});
  enum class Found : std::uint8_t { nothing, disabled, enabled };
  std::vector<Found> found(missing.size(), Found::nothing);
  const auto looked = run_all(calls, [&](std::size_t index, const RowView& row) -> Result<void> {
    found[index] = row.flag(0) ? Found::enabled : Found::disabled;
    return {};
  });
  if (!looked) return looked.error();
  std::vector<std::size_t> again;
  std::vector<DeviceEntry> entries;  // requests for one device come one after another
  for (std::size_t at = 0; at < missing.size(); ++at) {
    const ClaimRequest& request = requests[missing[at]];
    const auto is_new = [&] { return !entries.empty() && entries.back().id == request.device; };
    if (found[at] == Found::disabled) outcomes[missing[at]] = EndReason::device_disabled;
    if (found[at] == Found::enabled && request.while_newest) {
      outcomes[missing[at]] = EndReason::taken_over;
      continue;
    }
    if (found[at] == Found::nothing && request.auto_register && !is_new()) {
      entries.push_back({.id = request.device,
                         .labels = {},
                         .note = {},
                         .automatic = true,
                         .created_unix_ms = request.unix_ms,
                         .updated_unix_ms = request.unix_ms,
                         .revision = ++revision});
      outcomes[missing[at]] = ClaimGrant{.epoch = {}, .registered_now = true};
    }
    if (found[at] == Found::enabled || is_new()) again.push_back(missing[at]);
  }
  if (const auto written = write_devices(entries); !written) return written.error();
  return again;
}

}  // namespace fieldgate::store
