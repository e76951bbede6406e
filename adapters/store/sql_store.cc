// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/sql_store.h"

#include "adapters/store/codec.h"
#include "adapters/store/statements.h"

#include <limits>

namespace fieldgate::store {
namespace {

constexpr Statement k_lock_counters{"SELECT registry, presence FROM counters WHERE id = 1", true};
constexpr Statement k_lease{
    "INSERT INTO nodes (name, boot_id, version, started_unix_ms, lease_until_unix_ms) "
    "VALUES ($1, $2, $3, $4, store_unix_ms() + $5) ON CONFLICT (name) DO UPDATE SET boot_id = excluded.boot_id, "
    "version = excluded.version, started_unix_ms = excluded.started_unix_ms, "
    "lease_until_unix_ms = excluded.lease_until_unix_ms"};
constexpr Statement k_nodes{
    "SELECT name, boot_id, version, started_unix_ms, lease_until_unix_ms, "
    "CASE WHEN lease_until_unix_ms > store_unix_ms() THEN 1 ELSE 0 END FROM nodes ORDER BY name"};
constexpr Statement k_forget_nodes{
    "DELETE FROM nodes WHERE lease_until_unix_ms < store_unix_ms() - $1 "
    "AND NOT EXISTS (SELECT 1 FROM presence WHERE presence.online = 1 AND presence.node = nodes.name)"};

Result<NodeRow> read_node(const RowView& row) {
  return NodeRow{.name = row.string(0),
                 .boot_id = row.string(1),
                 .version = row.string(2),
                 .started_unix_ms = row.integer(3),
                 .lease_until_unix_ms = row.integer(4),
                 .live = row.flag(5)};
}

}  // namespace

SqlStore::SqlStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}
SqlStore::~SqlStore() = default;

Result<void> SqlStore::open() { return database_->open(); }

Result<void> SqlStore::begin() {
  if (open_) return make_error(Errc::internal, "store: begun twice");
  if (auto begun = database_->begin(); !begun) return begun;
  open_ = true;
  failed_ = false;
  return {};
}

Result<void> SqlStore::commit() {
  if (!open_) return make_error(Errc::internal, "store: nothing was begun");
  if (failed_) return make_error(Errc::internal, "store: the transaction has failed: only rollback() is left");
  auto committed = database_->commit();
  if (committed) {
    open_ = false;
  } else {
    failed_ = true;
  }
  return committed;
}

void SqlStore::rollback() noexcept {
  database_->rollback();
  open_ = false;
  failed_ = false;
}

std::string SqlStore::description() const { return database_->description(); }

Result<std::vector<std::string>> SqlStore::explain() {
  constexpr std::int64_t k_limit = 100;
  constexpr std::int64_t k_newest = std::numeric_limits<std::int64_t>::max();
  constexpr std::string_view k_device = "a";
  const std::vector<std::pair<std::string_view, Call>> queries{
      {"registry changes", {&k_registry_changes, {std::int64_t{1}, k_limit}}},
      {"registry deletions", {&k_registry_deletions, {std::int64_t{1}, k_limit}}},
      {"credentials of a device", {&k_device_credentials, {k_device}}},
      {"presence of all devices", {&k_presence_rows, {k_device, k_limit}}},
      {"presence log", {&k_presence_log, {std::int64_t{1}, k_limit}}},
      {"presence log of a device", {&k_device_presence, {k_device, std::int64_t{1}, k_limit}}},
      {"newest presence of a device", {&k_device_presence_before, {k_device, k_newest, k_limit}}},
      {"devices left online by a node", {&k_earlier_boots, {k_device, k_device, k_limit}}},
      {"devices left online by a dead node", {&k_dead_node, {k_device, k_limit}}},
      {"trim of the presence log", {&k_trim_presence, {std::int64_t{1}, k_limit}}},
      {"open commands of a device", {&k_open_commands, {k_device, k_device, k_limit}}},
      {"open commands", {&k_open_refs, {k_device, k_limit}}},
      {"overdue commands", {&k_overdue_commands, {std::int64_t{1}, std::int64_t{0}, k_device, k_limit}}},
      {"queued commands of a device", {&k_queued_commands, {k_device}}},
      {"commands of a device", {&k_device_commands, {k_device, k_newest, k_limit}}},
      {"command of an idempotency key", {&k_command_by_key, {k_device, as_bytes(k_device)}}},
      {"trim of commands", {&k_trim_commands, {std::int64_t{1}, k_limit}}},
      {"trim of a timeline", {&k_trim_timeline, {k_device, k_limit}}},
      {"timeline of a device", {&k_device_timeline, {k_device, k_newest, k_limit}}},
  };
  return alone([&]() -> Result<std::vector<std::string>> {
    std::vector<std::string> lines;
    for (const auto& [name, query] : queries) {
      auto plan = database_->explain(query);
      if (!plan) return plan.error();
      lines.push_back(std::string(name) + ": " + *plan);
    }
    return lines;
  });
}

Result<std::size_t> SqlStore::run(const Statement& statement, const Params& params, const OnRow& on_row) {
  const Call call{&statement, params};
  return database_->run({&call, 1}, on_row);
}

Result<std::size_t> SqlStore::run_all(std::span<const Call> calls, const OnRow& on_row) {
  return calls.empty() ? Result<std::size_t>(0) : database_->run(calls, on_row);
}

Result<SqlStore::Counters> SqlStore::lock_counters() {
  auto counters = find<Counters>(k_lock_counters, {}, [](const RowView& row) -> Result<Counters> {
    return Counters{.registry = row.number(0), .presence = row.number(1)};
  });
  if (!counters) return counters.error();
  if (!*counters) return make_error(Errc::malformed, "store: its counters are gone");
  return **counters;
}

Result<void> SqlStore::lease(const NodeRow& node, std::chrono::seconds term) {
  return alone([&]() -> Result<void> {
    const auto name = key_text(node.name, "a node's name");
    if (!name) return name.error();
    const std::string boot_id = clean_text(node.boot_id);
    const std::string version = clean_text(node.version);
    const auto done = run(k_lease, {*name, boot_id, version, node.started_unix_ms,
                                    std::int64_t{std::chrono::milliseconds(term).count()}});
    if (!done) return done.error();
    return {};
  });
}

Result<std::vector<NodeRow>> SqlStore::nodes() {
  return alone([&] { return list<NodeRow>(k_nodes, {}, read_node); });
}

Result<std::size_t> SqlStore::forget_nodes(std::chrono::seconds lost_for) {
  return alone([&] { return run(k_forget_nodes, {std::int64_t{std::chrono::milliseconds(lost_for).count()}}); });
}

}  // namespace fieldgate::store
