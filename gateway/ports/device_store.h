// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/command.h"
#include "gateway/core/device_entry.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/error.h"
#include "gateway/core/presence_event.h"
#include "gateway/core/timeline.h"
#include "gateway/core/twin.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fieldgate {

// A device that has connected and wants an epoch.
struct ClaimRequest {
  DeviceId device;
  Epoch at_least{};  // the epoch is to be above this
  std::int64_t unix_ms = 0;
  bool auto_register = false;  // take it into the registry if it is not there
  // Only while the presence log has none above this one. (Of an epoch that was given and is
  // not in it yet, nobody can tell whether it reached a connection.)
  std::optional<Epoch> while_newest{};
};

struct ClaimGrant {
  Epoch epoch;
  bool registered_now = false;
};
// EndReason::device_unknown, device_disabled or taken_over (not while_newest) where there is
// no grant.
using ClaimOutcome = std::variant<ClaimGrant, EndReason>;

// Where a device stands in the presence log, and what is known of its last connection.
struct PresenceRow {
  DeviceId device;
  Epoch epoch{};
  bool online = false;
  std::string node{};
  std::string boot_id{};
  std::int64_t since_unix_ms = 0;
  std::string reason{};
  std::int64_t last_seen_unix_ms = 0;
  std::int64_t last_data_unix_ms = 0;
  std::string firmware{};
  Labels labels{};        // as the device said in Hello
  Epoch profile_epoch{};  // of the connection that said so; it may have come to nothing: set_profiles()
};

// What a connection told of the device.
struct ProfileUpdate {
  DeviceId device;
  Epoch epoch{};
  std::string firmware;
  Labels labels;
};

// A step of one command, with what comes with it.
struct CommandAdvance {
  std::string id;
  CommandStep step{};
  bool sent_again = false;     // counts a send; the first sets first_sent_unix_ms
  bool cancel_wanted = false;  // sets that alone: `step` is not looked at
  // Only while the ledger's last word is that it is being handed to the connection of this
  // epoch; 0: that it is queued, and being handed to none. So of several nodes that would
  // hand a command over, or end it as never sent, one does.
  std::optional<Epoch> while_handed_to{};
  std::string result_text{};
  std::vector<std::byte> result_payload{};
};

// How far the registry's revisions have come.
struct RegistryMarks {
  std::uint64_t newest = 0;   // given
  std::uint64_t trimmed = 0;  // deletions through this one are forgotten
};

// When an open command is to end by itself: one that was never sent, as far as is known, by
// expires_unix_ms, else for want of a result within timeout_ms of the first time. In this order
// overdue_commands() has them.
struct CommandDue {
  std::int64_t unix_ms = 0;
  std::string id{};
};
inline CommandDue due_of(const CommandEntry& command) {
  const bool sent = command.first_sent_unix_ms > 0;
  return {sent ? command.first_sent_unix_ms + command.timeout_ms : command.expires_unix_ms, command.id};
}

// An open command, whose, and whether it is wished cancelled.
struct CommandRef {
  std::string id;
  DeviceId device;
  bool cancel_wanted = false;
};

struct NodeRow {
  std::string name;
  std::string boot_id;
  std::string version;
  std::int64_t started_unix_ms = 0;
  std::int64_t lease_until_unix_ms = 0;  // by the store's clock
  bool live = false;                     // the lease holds
};

// The registry, presence, the command ledger, twins and timelines, kept on disk.
//
// Every member waits for the store and is called by one thread, the one that opened
// it. Between begin() and commit() all or nothing is kept; outside of them each call
// stands for itself. What is committed survives the process and the machine.
// Texts for people are kept as near as can be: what is not UTF-8 in them, and zero bytes,
// become U+FFFD. Payloads, idempotency keys and correlation data are any bytes. Commands,
// twins, timelines and presence are kept of devices that are not registered, too: who
// calls decides that.
// Errors: Errc::unavailable: the store cannot be reached or does not answer in time
// (the detail says why; after open() it is reconnected to by the next begin()); whether
// a commit() that says so was kept is not known. Errc::timed_out: another node's
// transaction was in the way: to be tried again. Errc::invalid_argument: an id, a hash, a
// topic or a document is not UTF-8 text without zero bytes. An error within
// begin() ... commit() leaves rollback() as the only way on.
class DeviceStore {
 public:
  virtual ~DeviceStore() = default;

  // Connects, and brings the schema to this version. Errors: also Errc::unsupported: made
  // by a newer version (nothing is touched); Errc::malformed: not such a store.
  virtual Result<void> open() = 0;
  virtual Result<void> begin() = 0;
  virtual Result<void> commit() = 0;
  virtual void rollback() noexcept = 0;
  // Any thread: what waits for the store, and what is asked of it from now on, fails with
  // Errc::unavailable as soon as can be; for the end of the process. Where the engine cannot be
  // woken (a disk that hangs), it ends by its own bounds. What is left behind of it (a connection
  // that is being made) the destructor waits for.
  virtual void interrupt() noexcept = 0;
  // For logs and /readyz: "sqlite /path" or "postgres host/database", never a secret.
  virtual std::string description() const = 0;
  // Plans of the queries of this class by which lists are read, for people: one line each.
  virtual Result<std::vector<std::string>> explain() = 0;

  // --- registry
  virtual Result<std::optional<DeviceEntry>> device(const DeviceId& id) = 0;
  // Replaces or makes the entry, credentials included; `revision` is given here and in
  // the answer. `expected`: only if the entry has that revision (0: only if there is
  // none), else Errc::conflict. Errc::conflict too where a credential's hash belongs to
  // another device.
  virtual Result<DeviceEntry> put_device(const DeviceEntry& entry, std::optional<std::uint64_t> expected) = 0;
  // The commands, twin and timeline of the device go with it; presence stays.
  // nullopt: there was none. Errc::conflict as above.
  virtual Result<std::optional<RegistryChange>> delete_device(const DeviceId& id,
                                                              std::optional<std::uint64_t> expected) = 0;
  // Changes after `revision`, oldest first; a device that changed more than once comes
  // once, as it is now. From 0: every entry there is. With several nodes: no change appears
  // later than one with a higher revision.
  virtual Result<std::vector<RegistryChange>> registry_changes(std::uint64_t revision, std::size_t limit) = 0;
  // Whether one who follows the registry can go on: asked after registry_changes(), from the
  // same revision. Who is beyond `newest` follows another history (the store was set back), who
  // is below `trimmed` may have missed deletions: both begin anew.
  virtual Result<RegistryMarks> registry_marks() = 0;
  // Forgets the oldest deletions beyond `keep`, at most `limit` of them; how many.
  virtual Result<std::size_t> trim_deletions(std::uint64_t keep, std::size_t limit) = 0;

  // --- presence
  // The epoch of each is above every one given for the device before, and above
  // `at_least`; in the order of `requests`.
  virtual Result<std::vector<ClaimOutcome>> claim(std::span<const ClaimRequest> requests) = 0;
  // Takes those that are news: an epoch below the device's newest event, or a second one of the
  // same kind for an epoch, changes nothing; nor does an online after the offline of its epoch.
  // Returns how many were news. Numbers have no holes, and appear in their order.
  virtual Result<std::size_t> add_presence(std::span<const PresenceEvent> events) = 0;
  // Stamps are never moved back; those of an older epoch than the device's newest event are
  // dropped.
  virtual Result<void> set_seen(std::span<const SeenUpdate> updates) = 0;
  // What carries an older epoch than the device's newest event or profile is dropped. A profile is
  // what the device said last as it was given an epoch, though nothing may have come of that: it
  // may be of a connection that was refused while an earlier one goes on.
  virtual Result<void> set_profiles(std::span<const ProfileUpdate> updates) = 0;
  // Ends, for EndReason::node_lost, what `node` left online in another boot than
  // `boot_id`; returns the events that this made, at most `limit`.
  virtual Result<std::vector<PresenceEvent>> end_earlier_boots(const std::string& node, const std::string& boot_id,
                                                               std::int64_t unix_ms, std::size_t limit) = 0;
  // Ends what `node` left online, in whichever boot, if its lease has run out by the store's
  // clock; nothing otherwise. For EndReason::node_lost; returns the events that this made, at
  // most `limit`. Several may try at once: each pair is ended once.
  virtual Result<std::vector<PresenceEvent>> end_dead_node(const std::string& node, std::int64_t unix_ms,
                                                           std::size_t limit) = 0;
  // Of devices that have an event, in the order of ids.
  virtual Result<std::vector<PresenceRow>> presence_rows(std::string_view after_id, std::size_t limit) = 0;
  // Of these devices, in no order; those without an event are left out.
  virtual Result<std::vector<PresenceRow>> presence_of(std::span<const DeviceId> devices) = 0;
  // The number of the newest event; 0: there is none.
  virtual Result<std::uint64_t> presence_number() = 0;
  // Of one device (oldest first after `after`, a number), or of all where `device` is nullptr.
  virtual Result<std::vector<PresenceEvent>> presence_log(const DeviceId* device, std::uint64_t after,
                                                          std::size_t limit) = 0;
  // Of one device, newest first, with numbers below `before` (0: from the newest).
  virtual Result<std::vector<PresenceEvent>> device_presence(const DeviceId& device, std::uint64_t before,
                                                             std::size_t limit) = 0;
  // Deletes the oldest events beyond `keep`, at most `limit` of them.
  virtual Result<std::size_t> trim_presence(std::uint64_t keep, std::size_t limit) = 0;

  // --- commands
  // Where one with the same device and idempotency key is there, that one is returned
  // and nothing is changed. `fresh` says which. Errc::conflict: the id is taken.
  struct Inserted {
    CommandEntry command;
    bool fresh = true;
  };
  virtual Result<Inserted> insert_command(const CommandEntry& command) = 0;
  // Takes the step if may_follow() allows it and while_handed_to holds; nullopt: not so, or
  // there is no such command. Else the command as it is now. A wish to cancel: nullopt once it has ended.
  virtual Result<std::optional<CommandEntry>> advance_command(const CommandAdvance& advance) = 0;
  virtual Result<std::optional<CommandEntry>> command(std::string_view id) = 0;
  // Of these ids, in no order; those that are not there are left out. Without payloads.
  virtual Result<std::vector<CommandEntry>> commands_by_id(std::span<const std::string> ids) = 0;
  // Of a device, not in a final state, by id and so the oldest first, after `after` (an id;
  // empty: from the beginning). Without payloads.
  virtual Result<std::vector<CommandEntry>> open_commands(const DeviceId& device, std::string_view after,
                                                          std::size_t limit) = 0;
  // The same of all devices.
  virtual Result<std::vector<CommandRef>> open_command_refs(std::string_view after, std::size_t limit) = 0;
  // Open ones that were due by `unix_ms`; those due longest first, after `after` (none: from the
  // beginning). Without payloads.
  virtual Result<std::vector<CommandEntry>> overdue_commands(std::int64_t unix_ms, const CommandDue& after,
                                                             std::size_t limit) = 0;
  // How many of a device are queued, and how many of all devices are open.
  virtual Result<std::size_t> queued_commands(const DeviceId& device) = 0;
  virtual Result<std::size_t> open_command_count() = 0;
  // Of a device, newest first, older than `before` (an id; empty: from the newest;
  // Errc::not_found: there is no such command).
  virtual Result<std::vector<CommandEntry>> commands(const DeviceId& device, std::string_view before,
                                                     std::size_t limit) = 0;
  // Deletes final ones whose last step is older than `unix_ms`, at most `limit`.
  virtual Result<std::size_t> trim_commands(std::int64_t unix_ms, std::size_t limit) = 0;

  // --- twins
  virtual Result<std::optional<Twin>> twin(const DeviceId& id) = 0;
  // Errc::timed_out: it would take a version back, or give one a second document: somebody
  // else changed it meanwhile.
  virtual Result<void> put_twin(const Twin& twin) = 0;

  // --- timelines
  // Gives each entry its number, and keeps the newest `keep` of each device.
  virtual Result<void> add_timeline(std::span<const TimelineEntry> entries, std::uint32_t keep) = 0;
  // Newest first, with numbers below `before` (0: from the newest).
  virtual Result<std::vector<TimelineEntry>> timeline(const DeviceId& device, std::uint64_t before,
                                                      std::size_t limit) = 0;

  // --- nodes
  // By the store's own clock; makes the node's row.
  virtual Result<void> lease(const NodeRow& node, std::chrono::seconds term) = 0;
  virtual Result<std::vector<NodeRow>> nodes() = 0;
  // Those whose lease ran out so long ago, and that have no device online.
  virtual Result<std::size_t> forget_nodes(std::chrono::seconds lost_for) = 0;
};

}  // namespace fieldgate
