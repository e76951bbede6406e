// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/store/database.h"
#include "gateway/ports/device_store.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::store {

// DeviceStore over a Database: every query and rule, written once for all engines.
//
// Several nodes on one database: who gives a registry revision or a presence number holds
// the row of `counters` until its transaction ends. So these numbers appear in their
// order and without holes, and who has read up to one has missed nothing below it.
// Presence rows are changed under that row alone, claims wait for claims of the same
// device alone, and batches touch devices in the order of their ids: nodes wait for each
// other, but hardly ever in a circle (then Errc::timed_out for one of them).
class SqlStore final : public DeviceStore {
 public:
  explicit SqlStore(std::unique_ptr<Database> database);
  ~SqlStore() override;

  Result<void> open() override;
  Result<void> begin() override;
  Result<void> commit() override;
  void rollback() noexcept override;
  void interrupt() noexcept override { database_->interrupt(); }
  std::string description() const override;
  Result<std::vector<std::string>> explain() override;

  Result<std::optional<DeviceEntry>> device(const DeviceId& id) override;
  Result<DeviceEntry> put_device(const DeviceEntry& entry, std::optional<std::uint64_t> expected) override;
  Result<std::optional<RegistryChange>> delete_device(const DeviceId& id,
                                                      std::optional<std::uint64_t> expected) override;
  Result<std::vector<RegistryChange>> registry_changes(std::uint64_t revision, std::size_t limit) override;
  Result<RegistryMarks> registry_marks() override;
  Result<std::size_t> trim_deletions(std::uint64_t keep, std::size_t limit) override;

  Result<std::vector<ClaimOutcome>> claim(std::span<const ClaimRequest> requests) override;
  Result<std::size_t> add_presence(std::span<const PresenceEvent> events) override;
  Result<void> set_seen(std::span<const SeenUpdate> updates) override;
  Result<void> set_profiles(std::span<const ProfileUpdate> updates) override;
  Result<std::vector<PresenceEvent>> end_earlier_boots(const std::string& node, const std::string& boot_id,
                                                       std::int64_t unix_ms, std::size_t limit) override;
  Result<std::vector<PresenceEvent>> end_dead_node(const std::string& node, std::int64_t unix_ms,
                                                   std::size_t limit) override;
  Result<std::vector<PresenceRow>> presence_rows(std::string_view after_id, std::size_t limit) override;
  Result<std::vector<PresenceRow>> presence_of(std::span<const DeviceId> devices) override;
  Result<std::uint64_t> presence_number() override;
  Result<std::vector<PresenceEvent>> presence_log(const DeviceId* device, std::uint64_t after,
                                                  std::size_t limit) override;
  Result<std::vector<PresenceEvent>> device_presence(const DeviceId& device, std::uint64_t before,
                                                     std::size_t limit) override;
  Result<std::size_t> trim_presence(std::uint64_t keep, std::size_t limit) override;

  Result<Inserted> insert_command(const CommandEntry& command) override;
  Result<std::optional<CommandEntry>> advance_command(const CommandAdvance& advance) override;
  Result<std::optional<CommandEntry>> command(std::string_view id) override;
  Result<std::vector<CommandEntry>> commands_by_id(std::span<const std::string> ids) override;
  Result<std::vector<CommandEntry>> open_commands(const DeviceId& device, std::string_view after,
                                                  std::size_t limit) override;
  Result<std::vector<CommandRef>> open_command_refs(std::string_view after, std::size_t limit) override;
  Result<std::vector<CommandEntry>> overdue_commands(std::int64_t unix_ms, const CommandDue& after,
                                                     std::size_t limit) override;
  Result<std::size_t> queued_commands(const DeviceId& device) override;
  Result<std::size_t> open_command_count() override;
  Result<std::vector<CommandEntry>> commands(const DeviceId& device, std::string_view before,
                                             std::size_t limit) override;
  Result<std::size_t> trim_commands(std::int64_t unix_ms, std::size_t limit) override;

  Result<std::optional<Twin>> twin(const DeviceId& id) override;
  Result<void> put_twin(const Twin& twin) override;

  Result<void> add_timeline(std::span<const TimelineEntry> entries, std::uint32_t keep) override;
  Result<std::vector<TimelineEntry>> timeline(const DeviceId& device, std::uint64_t before, std::size_t limit) override;

  Result<void> lease(const NodeRow& node, std::chrono::seconds term) override;
  Result<std::vector<NodeRow>> nodes() override;
  Result<std::size_t> forget_nodes(std::chrono::seconds lost_for) override;

 private:
  struct Counters {
    std::uint64_t registry = 0;
    std::uint64_t presence = 0;
  };

  // What one call does: all of it, or nothing. In a transaction of the caller's an error
  // leaves rollback() alone.
  template <class F>
  auto atomically(F&& work) -> decltype(work());
  // The same, where one statement is all.
  template <class F>
  auto alone(F&& work) -> decltype(work());

  Result<std::size_t> run(const Statement& statement, const Params& params, const OnRow& on_row = {});
  Result<std::size_t> run_all(std::span<const Call> calls, const OnRow& on_row = {});
  template <class T, class Read>
  Result<std::optional<T>> find(const Statement& statement, const Params& params, Read read);
  template <class T, class Read>
  Result<std::vector<T>> list(const Statement& statement, const Params& params, Read read);

  Result<Counters> lock_counters();

  Result<std::optional<DeviceEntry>> read_device(const DeviceId& id);
  // With their revisions, of which the last becomes the newest.
  Result<void> write_devices(std::span<const DeviceEntry> entries);
  Result<void> read_credentials(std::span<DeviceEntry* const> entries);

  // Gives epochs to those of `requests` that `which` says, in its order; returns which of
  // them the registry did not let have one.
  Result<std::vector<std::size_t>> grant(std::span<const ClaimRequest> requests, std::span<const std::size_t> which,
                                         std::vector<ClaimOutcome>& outcomes);
  // Registers those of `missing` that are to be; returns which can be granted one now.
  Result<std::vector<std::size_t>> register_missing(std::span<const ClaimRequest> requests,
                                                    std::span<const std::size_t> missing,
                                                    std::vector<ClaimOutcome>& outcomes);
  // Says of `left`, which are online, that they were lost, and returns what was said. Under
  // lock_counters(), which said that `last_number` is the newest.
  Result<std::vector<PresenceEvent>> end_all(std::vector<PresenceEvent> left, std::int64_t unix_ms,
                                             std::uint64_t last_number);
  // As above.
  Result<std::size_t> apply_presence(std::span<const PresenceEvent> events, std::uint64_t last_number);

  // Where a page goes on. Errc::not_found: no such command.
  Result<std::uint64_t> number_of(std::string_view command_id);
  Result<std::size_t> counted(const Statement& statement, const Params& params);

  const std::unique_ptr<Database> database_;
  bool open_ = false;    // between begin() and the end of the transaction
  bool failed_ = false;  // in it: rollback() is the only way on
};

template <class F>
auto SqlStore::atomically(F&& work) -> decltype(work()) {
  if (open_) return alone(std::forward<F>(work));
  if (auto begun = database_->begin(); !begun) return begun.error();
  auto done = work();
  if (!done) {
    database_->rollback();
    return done;
  }
  if (auto committed = database_->commit(); !committed) {
    database_->rollback();
    return committed.error();
  }
  return done;
}

template <class F>
auto SqlStore::alone(F&& work) -> decltype(work()) {
  if (failed_) return make_error(Errc::internal, "store: the transaction has failed already");
  auto done = work();
  if (!done && open_) failed_ = true;
  return done;
}

template <class T, class Read>
Result<std::optional<T>> SqlStore::find(const Statement& statement, const Params& params, Read read) {
  std::optional<T> found;
  auto done = run(statement, params, [&](std::size_t, const RowView& row) -> Result<void> {
    auto item = read(row);
    if (!item) return item.error();
    found = std::move(*item);
    return {};
  });
  if (!done) return done.error();
  return found;
}

template <class T, class Read>
Result<std::vector<T>> SqlStore::list(const Statement& statement, const Params& params, Read read) {
  std::vector<T> items;
  auto done = run(statement, params, [&](std::size_t, const RowView& row) -> Result<void> {
    auto item = read(row);
    if (!item) return item.error();
    items.push_back(std::move(*item));
    return {};
  });
  if (!done) return done.error();
  return items;
}

}  // namespace fieldgate::store
