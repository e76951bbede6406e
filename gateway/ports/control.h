// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/command.h"
#include "gateway/core/device_entry.h"
#include "gateway/core/error.h"
#include "gateway/core/presence_event.h"
#include "gateway/core/timeline.h"
#include "gateway/core/twin.h"
#include "gateway/ports/device_store.h"
#include "gateway/ports/fleet_changes.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// What people and programs may ask of, and do to, devices: the registry, commands,
// twins, timelines. Behind it stands the store, so every answer comes later.
//
// Thread: any; nothing here waits. Each answer comes once, on the store's thread: post
//         it where it belongs and return.
// Errors, of all: Errc::unavailable: the store does not answer, or too much waits for it
//         already; the detail is fit for the caller. Nothing was changed then, as far as
//         is known.
namespace fieldgate {

template <class T>
using Reply = std::function<void(Result<T>)>;

// A change somebody wants of a registry entry; what is not set stays as it is, or
// takes its default in a new entry.
struct DevicePatch {
  std::optional<bool> enabled;
  std::optional<std::string> note;
  std::optional<Labels> labels;  // replaces all of them
  // A label set to a value, or (nullopt) taken away; after `labels`.
  std::vector<std::pair<std::string, std::optional<std::string>>> label_changes;
};

enum class PutMode : std::uint8_t {
  create,   // Errc::conflict if it is there
  update,   // Errc::not_found if it is not
  replace,  // either; what `patch` does not set takes its default
};

// A credential to be added. For a token, `token_sha256` is that of the secret that the
// caller made and will show once.
struct NewCredential {
  CredentialKind kind = CredentialKind::token;
  std::string sha256;                // lower-case hex
  std::int64_t expires_unix_ms = 0;  // 0: never
  std::string note;
  // Rotation with overlap: the device's other credentials of this kind expire then at the
  // latest. 0: they stay as they are.
  std::int64_t others_expire_unix_ms = 0;
};

class Registry {
 public:
  virtual ~Registry() = default;
  virtual void get(const DeviceId& id, Reply<DeviceEntry> reply) = 0;  // Errc::not_found
  // Disabling ends the device's connection. `expected`: revision, else Errc::conflict.
  // `by`: who asks, for the timeline.
  virtual void put(const DeviceId& id, DevicePatch patch, PutMode mode, std::optional<std::uint64_t> expected,
                   std::string by, Reply<DeviceEntry> reply) = 0;
  // As put(), many at once; each has its own outcome, in order.
  struct Item {
    DeviceId id;
    DevicePatch patch;
    PutMode mode = PutMode::replace;
    std::vector<NewCredential> credentials;  // added where they are not there yet
  };
  virtual void put_all(std::vector<Item> items, std::string by, Reply<std::vector<Result<DeviceEntry>>> reply) = 0;
  // Ends the connection too (credential_revoked). Errc::not_found, Errc::conflict.
  virtual void remove(const DeviceId& id, std::optional<std::uint64_t> expected, std::string by,
                      Reply<std::uint64_t> reply) = 0;
  // Errc::full: k_credentials_per_device_max; Errc::conflict: that hash is taken.
  virtual void add_credential(const DeviceId& id, NewCredential credential, std::string by,
                              Reply<DeviceCredential> reply) = 0;
  // A connection that stands on it ends (credential_revoked). Errc::not_found.
  virtual void remove_credential(const DeviceId& id, const std::string& credential_id, std::string by,
                                 Reply<bool> reply) = 0;
  // Entries in the order of ids, after `after`.
  virtual void list(std::string after, std::size_t limit, Reply<std::vector<DeviceEntry>> reply) = 0;
};

struct CommandRequest {
  DeviceId device;
  std::string name;
  std::vector<std::byte> payload;
  std::optional<std::chrono::milliseconds> timeout;  // CommandSettings otherwise, and bounded by it
  std::optional<std::chrono::milliseconds> ttl;      // 0: only if it is online
  bool at_most_once = false;
  std::string idempotency_key;
  std::string source;
  std::string response_topic;
  std::string correlation_data;
};

class Commands {
 public:
  virtual ~Commands() = default;
  struct Accepted {
    CommandEntry command;
    bool fresh = true;  // false: the idempotency key was there already, with the same request
  };
  // In the ledger when the reply comes. Errors: Errc::invalid_argument, Errc::too_large
  // (which says what of which limit); Errc::not_found: no such device; Errc::full: the
  // device's queue or all of them; Errc::conflict: the key stands for another request.
  virtual void submit(CommandRequest request, Reply<Accepted> reply) = 0;
  virtual void get(const std::string& id, Reply<CommandEntry> reply) = 0;
  // Once the command has come to its end, or else `patience` has passed: as it is then.
  virtual void wait(const std::string& id, std::chrono::milliseconds patience, Reply<CommandEntry> reply) = 0;
  virtual void list(const DeviceId& device, std::string before, std::size_t limit,
                    Reply<std::vector<CommandEntry>> reply) = 0;
  // Queued: cancelled at once. Sent: the device is asked, and the answer is the command
  // as it is then. Errc::not_found; Errc::conflict: it has ended already.
  virtual void cancel(const std::string& id, std::string by, Reply<CommandEntry> reply) = 0;
};

class Twins {
 public:
  virtual ~Twins() = default;
  // Errc::not_found: no such device. One that never had a twin has an empty one.
  virtual void get(const DeviceId& id, Reply<Twin> reply) = 0;
  // The whole document or (RFC 7396) a merge patch, as JSON text. `expected`: of
  // desired_version, else Errc::conflict. Errors: Errc::invalid_argument, Errc::too_large.
  virtual void set_desired(const DeviceId& id, std::string json, bool patch, std::optional<std::uint64_t> expected,
                           std::string by, Reply<Twin> reply) = 0;
};

class Timelines {
 public:
  virtual ~Timelines() = default;
  virtual void timeline(const DeviceId& id, std::uint64_t before, std::size_t limit,
                        Reply<std::vector<TimelineEntry>> reply) = 0;
  virtual void presence(const DeviceId& id, std::uint64_t before, std::size_t limit,
                        Reply<std::vector<PresenceEvent>> reply) = 0;
  // Newest first; from memory. Any thread, at once.
  virtual std::vector<RefusalEntry> refusals(std::size_t limit) const = 0;
  virtual void nodes(Reply<std::vector<NodeRow>> reply) = 0;
};

// What may be done to a device that is connected to another node.
class Elsewhere {
 public:
  virtual ~Elsewhere() = default;
  // Ends the connection that the store says the device has to another node, for
  // EndReason::kicked: it is over in the store when the answer comes, and that node ends it
  // as it hears of it. False: the store knows of none.
  virtual void kick(const DeviceId& id, Reply<bool> reply) = 0;
};

// How the store is doing. Any thread, at once.
struct StoreStatus {
  bool available = false;
  std::string description;
  std::string last_error;          // empty: none yet
  std::int64_t since_unix_ms = 0;  // of `available`
  std::size_t waiting = 0;         // jobs
};

// All of it, as the API and the lanes get it. Null members: there is no store
// (store.kind: none), and what needs it is answered Errc::unsupported.
struct ControlPorts {
  Registry* registry = nullptr;
  Commands* commands = nullptr;
  Twins* twins = nullptr;
  Timelines* timelines = nullptr;
  std::function<StoreStatus()> store;
  // There are no other nodes:
  Elsewhere* elsewhere = nullptr;
  FleetChanges* changes = nullptr;
};

// What the store said of the fleet's nodes, and when this node last heard what the others do.
struct FleetView {
  std::int64_t as_of_unix_ms = 0;
  std::vector<NodeRow> nodes;
};

// Hears of changes after they are in the store. Thread: the store's; never waits.
class ControlSink {
 public:
  virtual ~ControlSink() = default;
  virtual void registry_changed(std::vector<RegistryChange>) {}
  // Devices that the store knows from before this process or from other nodes, as they were last
  // heard of. The same may come again.
  virtual void presence_known(std::vector<PresenceRow>) {}
  // With several nodes alone, again and again: what presence_known() told by then is all that
  // there was to know of devices coming and going.
  virtual void fleet_known(const FleetView&) {}
  virtual void command_changed(const std::shared_ptr<const CommandEntry>&) {}
  virtual void twin_changed(const std::shared_ptr<const Twin>&) {}
  // The same, by another node: to be shown, and nothing else, for who wrote it does the rest.
  // As it was at that step; of a twin that has changed again meanwhile, as it is now.
  virtual void command_seen(const std::shared_ptr<const CommandEntry>&) {}
  virtual void twin_seen(const std::shared_ptr<const Twin>&) {}
  // Of what was to be seen, at most so many were missed; nullopt: nobody knows how many, or
  // whether any.
  virtual void changes_missed(std::optional<std::uint64_t>) {}
};

}  // namespace fieldgate
