// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/codec.h"
#include "adapters/store/sql_store.h"
#include "adapters/store/statements.h"

#include <limits>
#include <set>
#include <utility>

namespace fieldgate::store {

const Statement k_device_timeline{
    "SELECT device_id, kind, unix_ms, epoch, fields, number FROM timeline "
    "WHERE device_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3"};

const Statement k_trim_timeline{
    "DELETE FROM timeline WHERE device_id = $1 AND number <= "
    "(SELECT number FROM timeline WHERE device_id = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)"};

namespace {

constexpr Statement k_add{"INSERT INTO timeline (device_id, kind, unix_ms, epoch, fields) VALUES ($1, $2, $3, $4, $5)"};
constexpr Statement k_twin{
    "SELECT device_id, reported_json, reported_version, reported_unix_ms, reported_stream, reported_seq, desired_json, "
    "desired_version, desired_unix_ms, acknowledged_version, acknowledged_error, acknowledged_unix_ms, reported_epoch "
    "FROM twins WHERE device_id = $1",
    true};
// Versions only rise, and each has one document: what breaks that was made from a twin that
// somebody else has changed, or made, meanwhile.
constexpr Statement k_put_twin{
    "INSERT INTO twins (device_id, reported_json, reported_version, reported_unix_ms, reported_stream, reported_seq, "
    "desired_json, desired_version, desired_unix_ms, acknowledged_version, acknowledged_error, acknowledged_unix_ms, "
    "reported_epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (device_id) DO UPDATE "
    "SET "
    "reported_json = excluded.reported_json, reported_version = excluded.reported_version, "
    "reported_unix_ms = excluded.reported_unix_ms, reported_stream = excluded.reported_stream, "
    "reported_seq = excluded.reported_seq, desired_json = excluded.desired_json, "
    "desired_version = excluded.desired_version, desired_unix_ms = excluded.desired_unix_ms, "
    "acknowledged_version = excluded.acknowledged_version, acknowledged_error = excluded.acknowledged_error, "
    "acknowledged_unix_ms = excluded.acknowledged_unix_ms, reported_epoch = excluded.reported_epoch "
    "WHERE (twins.reported_version < excluded.reported_version OR "
    "(twins.reported_version = excluded.reported_version AND twins.reported_json = excluded.reported_json)) "
    "AND (twins.desired_version < excluded.desired_version OR "
    "(twins.desired_version = excluded.desired_version AND twins.desired_json = excluded.desired_json)) "
    "RETURNING device_id"};

Result<TimelineEntry> read_timeline(const RowView& row) {
  auto device = decode_device(row.text(0));
  if (!device) return device.error();
  const auto kind = decode_timeline_kind(row.text(1));
  if (!kind) return kind.error();
  auto fields = decode_pairs(row.text(4));
  if (!fields) return fields.error();
  return TimelineEntry{.device = std::move(*device),
                       .kind = *kind,
                       .unix_ms = row.integer(2),
                       .epoch = {row.number(3)},
                       .fields = std::move(*fields),
                       .number = row.number(5)};
}

Result<Twin> read_twin(const RowView& row) {
  auto device = decode_device(row.text(0));
  if (!device) return device.error();
  return Twin{.device = std::move(*device),
              .reported_json = row.string(1),
              .reported_version = row.number(2),
              .reported_unix_ms = row.integer(3),
              .reported_stream = {row.number(4)},
              .reported_seq = {row.number(5)},
              .reported_epoch = {row.number(12)},
              .desired_json = row.string(6),
              .desired_version = row.number(7),
              .desired_unix_ms = row.integer(8),
              .acknowledged_version = row.number(9),
              .acknowledged_error = row.string(10),
              .acknowledged_unix_ms = row.integer(11)};
}

}  // namespace

Result<std::optional<Twin>> SqlStore::twin(const DeviceId& id) {
  return alone([&] { return find<Twin>(k_twin, {id.str()}, read_twin); });
}

Result<void> SqlStore::put_twin(const Twin& twin) {
  return alone([&]() -> Result<void> {
    const auto reported = key_text(twin.reported_json, "a twin's reported document");
    const auto desired = key_text(twin.desired_json, "a twin's desired document");
    if (!reported) return reported.error();
    if (!desired) return desired.error();
    const std::string error = clean_text(twin.acknowledged_error);
    const auto done =
        run(k_put_twin, {twin.device.str(), *reported, number(twin.reported_version), twin.reported_unix_ms,
                         bits(twin.reported_stream.value), bits(twin.reported_seq.value), *desired,
                         number(twin.desired_version), twin.desired_unix_ms, number(twin.acknowledged_version), error,
                         twin.acknowledged_unix_ms, number(twin.reported_epoch.value)});
    if (!done) return done.error();
    if (*done > 0) return {};
    return make_error(Errc::timed_out, "the twin of " + twin.device.str() + " was changed by somebody else meanwhile");
  });
}

Result<void> SqlStore::add_timeline(std::span<const TimelineEntry> entries, std::uint32_t keep) {
  if (entries.empty()) return {};
  return atomically([&]() -> Result<void> {
    std::vector<std::string> fields;
    std::set<std::string_view> devices;  // in order, so that two nodes do not wait for each other
    for (const TimelineEntry& entry : entries) {
      fields.push_back(encode_pairs(entry.fields));
      devices.insert(entry.device.str());
    }
    std::vector<Call> calls;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const TimelineEntry& entry = entries[i];
      calls.push_back(
          {&k_add, {entry.device.str(), to_string(entry.kind), entry.unix_ms, number(entry.epoch.value), fields[i]}});
    }
    for (const std::string_view device : devices) calls.push_back({&k_trim_timeline, {device, number(keep)}});
    if (const auto done = run_all(calls); !done) return done.error();
    return {};
  });
}

Result<std::vector<TimelineEntry>> SqlStore::timeline(const DeviceId& device, std::uint64_t before, std::size_t limit) {
  return alone([&] {
    const std::uint64_t from = before == 0 ? std::numeric_limits<std::int64_t>::max() : before;
    return list<TimelineEntry>(k_device_timeline, {device.str(), number(from), number(limit)}, read_timeline);
  });
}

}  // namespace fieldgate::store
