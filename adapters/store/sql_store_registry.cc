// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/codec.h"
#include "adapters/store/sql_store.h"
#include "adapters/store/statements.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>

namespace fieldgate::store {

const Statement k_registry_changes{
    "SELECT id, revision, enabled, labels, note, automatic, created_unix_ms, updated_unix_ms FROM devices "
    "WHERE revision > $1 ORDER BY revision LIMIT $2"};
const Statement k_registry_deletions{
    "SELECT id, revision FROM devices_gone WHERE revision > $1 ORDER BY revision LIMIT $2"};
const Statement k_device_credentials{
    "SELECT id, kind, sha256, created_unix_ms, expires_unix_ms, note FROM credentials "
    "WHERE device_id = $1 ORDER BY position"};

namespace {

constexpr Statement k_device{
    "SELECT id, revision, enabled, labels, note, automatic, created_unix_ms, updated_unix_ms FROM devices "
    "WHERE id = $1"};
constexpr Statement k_marks{"SELECT registry, registry_trimmed FROM counters WHERE id = 1"};
// The newest of the deletions that are too many.
constexpr Statement k_deletions_end{"SELECT revision FROM devices_gone ORDER BY revision DESC LIMIT 1 OFFSET $1"};
constexpr Statement k_deletions_step{
    "SELECT revision FROM devices_gone WHERE revision <= $1 ORDER BY revision LIMIT 1 OFFSET $2"};
constexpr Statement k_trim_deletions{"DELETE FROM devices_gone WHERE revision <= $1"};
constexpr Statement k_set_trimmed{"UPDATE counters SET registry_trimmed = $1 WHERE id = 1"};
constexpr Statement k_newest{"SELECT registry FROM counters WHERE id = 1"};
constexpr Statement k_put_device{
    "INSERT INTO devices (id, enabled, labels, note, automatic, created_unix_ms, updated_unix_ms, revision) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET enabled = excluded.enabled, "
    "labels = excluded.labels, note = excluded.note, automatic = excluded.automatic, "
    "created_unix_ms = excluded.created_unix_ms, updated_unix_ms = excluded.updated_unix_ms, "
    "revision = excluded.revision"};
constexpr Statement k_set_revision{"UPDATE counters SET registry = $1 WHERE id = 1"};
constexpr Statement k_not_gone{"DELETE FROM devices_gone WHERE id = $1"};
constexpr Statement k_gone{
    "INSERT INTO devices_gone (id, revision) VALUES ($1, $2) "
    "ON CONFLICT (id) DO UPDATE SET revision = excluded.revision"};
constexpr Statement k_drop_credentials{"DELETE FROM credentials WHERE device_id = $1"};
constexpr Statement k_add_credential{
    "INSERT INTO credentials (id, device_id, position, kind, sha256, created_unix_ms, expires_unix_ms, note) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING position"};
constexpr std::array<Statement, 4> k_drop_all{{{"DELETE FROM devices WHERE id = $1"},
                                               {"DELETE FROM commands WHERE device_id = $1"},
                                               {"DELETE FROM twins WHERE device_id = $1"},
                                               {"DELETE FROM timeline WHERE device_id = $1"}}};

Result<DeviceEntry> read_entry(const RowView& row) {
  auto id = decode_device(row.text(0));
  if (!id) return id.error();
  auto labels = decode_pairs(row.text(3));
  if (!labels) return labels.error();
  return DeviceEntry{.id = std::move(*id),
                     .enabled = row.flag(2),
                     .labels = std::move(*labels),
                     .note = row.string(4),
                     .automatic = row.flag(5),
                     .created_unix_ms = row.integer(6),
                     .updated_unix_ms = row.integer(7),
                     .revision = row.number(1)};
}

Result<RegistryChange> read_change(const RowView& row) {
  auto entry = read_entry(row);
  if (!entry) return entry.error();
  return RegistryChange{.id = entry->id, .revision = entry->revision, .entry = std::move(*entry)};
}

Result<RegistryChange> read_deletion(const RowView& row) {
  auto id = decode_device(row.text(0));
  if (!id) return id.error();
  return RegistryChange{.id = std::move(*id), .revision = row.number(1), .entry = std::nullopt};
}

Result<DeviceCredential> read_credential(const RowView& row) {
  const auto kind = decode_credential_kind(row.text(1));
  if (!kind) return kind.error();
  return DeviceCredential{.id = row.string(0),
                          .kind = *kind,
                          .sha256 = row.string(2),
                          .created_unix_ms = row.integer(3),
                          .expires_unix_ms = row.integer(4),
                          .note = row.string(5)};
}

Error revision_conflict(const DeviceId& id, std::uint64_t expected, std::uint64_t found) {
  const auto say = [](std::uint64_t revision) {
    return revision == 0 ? std::string("not there") : "at revision " + std::to_string(revision);
  };
  return make_error(Errc::conflict,
                    "device " + id.str() + " is " + say(found) + ", not " + (expected == 0 ? "absent" : say(expected)));
}

}  // namespace

Result<std::optional<DeviceEntry>> SqlStore::device(const DeviceId& id) {
  return alone([&] { return read_device(id); });
}

Result<std::optional<DeviceEntry>> SqlStore::read_device(const DeviceId& id) {
  auto found = find<DeviceEntry>(k_device, {id.str()}, read_entry);
  if (!found || !*found) return found;
  DeviceEntry* const entry = &**found;
  if (auto read = read_credentials({&entry, 1}); !read) return read.error();
  return found;
}

Result<void> SqlStore::read_credentials(std::span<DeviceEntry* const> entries) {
  std::vector<Call> calls;
  for (const DeviceEntry* entry : entries) calls.push_back({&k_device_credentials, {entry->id.str()}});
  const auto done = run_all(calls, [&](std::size_t index, const RowView& row) -> Result<void> {
    auto credential = read_credential(row);
    if (!credential) return credential.error();
    entries[index]->credentials.push_back(std::move(*credential));
    return {};
  });
  if (!done) return done.error();
  return {};
}

Result<DeviceEntry> SqlStore::put_device(const DeviceEntry& entry, std::optional<std::uint64_t> expected) {
  return atomically([&]() -> Result<DeviceEntry> {
    // Before the entry is read: whoever else changes it waits here.
    const auto counters = lock_counters();
    if (!counters) return counters.error();
    if (expected) {
      const auto found = find<DeviceEntry>(k_device, {entry.id.str()}, read_entry);
      if (!found) return found.error();
      const std::uint64_t revision = *found ? (*found)->revision : 0;
      if (revision != *expected) return revision_conflict(entry.id, *expected, revision);
    }
    DeviceEntry written = entry;
    written.revision = counters->registry + 1;
    if (auto done = write_devices({&written, 1}); !done) return done.error();
    return written;
  });
}

Result<void> SqlStore::write_devices(std::span<const DeviceEntry> entries) {
  if (entries.empty()) return {};
  std::deque<std::string> texts;  // what the calls borrow
  const auto keep = [&](std::string text) -> std::string_view { return texts.emplace_back(std::move(text)); };
  std::vector<Call> calls{{&k_set_revision, {number(entries.back().revision)}}};
  std::map<std::size_t, std::string_view> credentials;  // ids by index of the call, until it was added
  for (const DeviceEntry& entry : entries) {
    const std::string& id = entry.id.str();
    calls.push_back({&k_put_device,
                     {id, flag(entry.enabled), keep(encode_pairs(entry.labels)), keep(clean_text(entry.note)),
                      flag(entry.automatic), entry.created_unix_ms, entry.updated_unix_ms, number(entry.revision)}});
    calls.push_back({&k_not_gone, {id}});
    calls.push_back({&k_drop_credentials, {id}});
    for (std::size_t i = 0; i < entry.credentials.size(); ++i) {
      const DeviceCredential& credential = entry.credentials[i];
      const auto name = key_text(credential.id, "a credential's id");
      const auto hash = key_text(credential.sha256, "a credential's hash");
      if (!name) return name.error();
      if (!hash) return hash.error();
      credentials.emplace(calls.size(), *name);
      calls.push_back({&k_add_credential,
                       {*name, id, number(i), to_string(credential.kind), *hash, credential.created_unix_ms,
                        credential.expires_unix_ms, keep(clean_text(credential.note))}});
    }
  }
  const auto done = run_all(calls, [&](std::size_t index, const RowView&) -> Result<void> {
    credentials.erase(index);
    return {};
  });
  if (!done) return done.error();
  if (credentials.empty()) return {};
  return make_error(Errc::conflict, "credential " + std::string(credentials.begin()->second) +
                                        ", or one with its hash, is there already");
}

Result<std::optional<RegistryChange>> SqlStore::delete_device(const DeviceId& id,
                                                              std::optional<std::uint64_t> expected) {
  return atomically([&]() -> Result<std::optional<RegistryChange>> {
    const auto counters = lock_counters();
    if (!counters) return counters.error();
    const auto found = find<DeviceEntry>(k_device, {id.str()}, read_entry);
    if (!found) return found.error();
    const std::uint64_t revision = *found ? (*found)->revision : 0;
    if (expected && *expected != revision) return revision_conflict(id, *expected, revision);
    if (!*found) return std::optional<RegistryChange>();
    RegistryChange change{.id = id, .revision = counters->registry + 1, .entry = std::nullopt};
    std::vector<Call> calls{{&k_set_revision, {number(change.revision)}},
                            {&k_gone, {id.str(), number(change.revision)}}};
    for (const Statement& drop : k_drop_all) calls.push_back({&drop, {id.str()}});
    if (const auto done = run_all(calls); !done) return done.error();
    return std::optional(std::move(change));
  });
}

Result<std::vector<RegistryChange>> SqlStore::registry_changes(std::uint64_t revision, std::size_t limit) {
  return alone([&]() -> Result<std::vector<RegistryChange>> {
    std::vector<Call> calls{{&k_newest, {}}, {&k_registry_changes, {number(revision), number(limit)}}};
    if (revision > 0) calls.push_back({&k_registry_deletions, {number(revision), number(limit)}});
    std::uint64_t newest = 0;
    std::vector<RegistryChange> changes;
    const auto done = run_all(calls, [&](std::size_t index, const RowView& row) -> Result<void> {
      if (index == 0) {
        newest = row.number(0);
        return {};
      }
      auto change = index == 1 ? read_change(row) : read_deletion(row);
      if (!change) return change.error();
      changes.push_back(std::move(*change));
      return {};
    });
    if (!done) return done.error();
    // All that is not newer than this was there before either list was read.
    std::erase_if(changes, [&](const RegistryChange& change) { return change.revision > newest; });
    std::ranges::sort(changes, {}, &RegistryChange::revision);
    if (changes.size() > limit) changes.erase(changes.begin() + static_cast<std::ptrdiff_t>(limit), changes.end());
    std::vector<DeviceEntry*> entries;
    for (RegistryChange& change : changes) {
      if (change.entry) entries.push_back(&*change.entry);
    }
    if (auto read = read_credentials(entries); !read) return read.error();
    return changes;
  });
}

Result<RegistryMarks> SqlStore::registry_marks() {
  return alone([&]() -> Result<RegistryMarks> {
    auto marks = find<RegistryMarks>(k_marks, {}, [](const RowView& row) -> Result<RegistryMarks> {
      return RegistryMarks{.newest = row.number(0), .trimmed = row.number(1)};
    });
    if (!marks) return marks.error();
    if (!*marks) return make_error(Errc::malformed, "store: its counters are gone");
    return **marks;
  });
}

Result<std::size_t> SqlStore::trim_deletions(std::uint64_t keep, std::size_t limit) {
  return atomically([&]() -> Result<std::size_t> {
    const auto revision = [](const RowView& row) -> Result<std::uint64_t> { return row.number(0); };
    if (limit == 0) return std::size_t{0};
    if (const auto counters = lock_counters(); !counters) return counters.error();
    const auto end = find<std::uint64_t>(k_deletions_end, {number(keep)}, revision);
    if (!end) return end.error();
    if (!*end) return std::size_t{0};
    const auto step = find<std::uint64_t>(k_deletions_step, {number(**end), number(limit - 1)}, revision);
    if (!step) return step.error();
    const Value through = number(*step ? **step : **end);
    if (const auto marked = run(k_set_trimmed, {through}); !marked) return marked.error();
    return run(k_trim_deletions, {through});
  });
}

}  // namespace fieldgate::store
