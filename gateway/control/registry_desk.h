// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/links.h"
#include "gateway/control/nudge_box.h"
#include "gateway/control/registry_view.h"
#include "gateway/control/store_worker.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/log.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

namespace fieldgate::control {

struct RegistryLimits {
  std::size_t labels_max = 32;            // per device
  std::chrono::milliseconds poll{1'000};  // for changes that other nodes have made
  std::uint64_t deletions_kept = 10'000;  // for nodes that were away; who was for longer reads all anew
  std::chrono::milliseconds trim{60'000};
};

// The registry: changes it in the store, keeps all of it in memory, and tells whoever must
// know of a change: the sinks, then the connections that it ends, then the timeline.
// Changes of other nodes are told alike, as they say so or a poll later; these are in no
// timeline here.
// Where the store was set back (restored from a copy), or has forgotten deletions that were not
// read, all of it is read anew, and what differs is told; till then it answers as before.
// Thread: Registry's members any; all else the store's, or before that starts.
// Borrows: worker, clock, log, links; all outlive the worker's stop().
class RegistryDesk final : public Registry {
 public:
  static constexpr std::size_t k_page = 1'000;          // changes read at once
  static constexpr std::size_t k_trim_step = 1'000;     // deletions forgotten in one transaction
  static constexpr std::size_t k_put_all_step = 200;    // items in one transaction
  static constexpr std::size_t k_put_attempts_max = 5;  // against other nodes, where no revision is expected

  RegistryDesk(StoreWorker& worker, const Clock& clock, Log& log, RegistryLimits limits);
  // Reads the registry, if the store can be reached, and tells the sinks; waits. Begins to
  // look for changes. Before the worker's start(). Errors: the store's, but for
  // Errc::unavailable: then it is read once the store can be reached.
  Result<void> start(ControlLinks links);

  void get(const DeviceId& id, Reply<DeviceEntry> reply) override;
  void put(const DeviceId& id, DevicePatch patch, PutMode mode, std::optional<std::uint64_t> expected, std::string by,
           Reply<DeviceEntry> reply) override;
  // In steps: what an error of the store cuts off in one is Errc::unavailable from there on.
  void put_all(std::vector<Item> items, std::string by, Reply<std::vector<Result<DeviceEntry>>> reply) override;
  void remove(const DeviceId& id, std::optional<std::uint64_t> expected, std::string by,
              Reply<std::uint64_t> reply) override;
  void add_credential(const DeviceId& id, NewCredential credential, std::string by,
                      Reply<DeviceCredential> reply) override;
  void remove_credential(const DeviceId& id, const std::string& credential_id, std::string by,
                         Reply<bool> reply) override;
  // From memory: also while the store cannot be reached.
  void list(std::string after, std::size_t limit, Reply<std::vector<DeviceEntry>> reply) override;

  // As memory has it; nullptr: there is none. Store thread.
  const DeviceEntry* find(const DeviceId& id) const { return view_.find(id.str()); }
  // All of the registry has been read. Store thread.
  bool loaded() const noexcept { return loaded_; }
  // Takes in what the store has made of an entry. `by`: who asked, for the timeline; empty: another node.
  // Store thread.
  void changed(std::vector<RegistryChange> changes, const std::string& by);

 private:
  // What turns an entry into another one. Errors are the caller's.
  using Edit = std::function<Result<DeviceEntry>(const DeviceEntry* current)>;
  struct Change;
  struct Bulk;
  struct Page;

  static Result<void> read_page(DeviceStore& store, std::uint64_t after, Page& page);
  void edit(const DeviceId& id, std::optional<std::uint64_t> expected, Edit edit, std::string by,
            Reply<DeviceEntry> reply);
  void attempt(std::shared_ptr<Change> change);
  void settle(const std::shared_ptr<Change>& change, const Result<void>& outcome);
  void put_step(std::shared_ptr<Bulk> bulk);
  Result<DeviceEntry> edited_item(const DeviceEntry* current, const Bulk& bulk, std::size_t at) const;
  Result<void> put_items(DeviceStore& store, Bulk& bulk);
  void settle_step(const std::shared_ptr<Bulk>& bulk, const Result<void>& outcome);
  void answer_later(std::function<void()> answer);

  void poll_again();
  void poll();
  void polled(Page page);
  void begin_anew(const RegistryMarks& marks);
  void end_anew();
  void trim();
  void take_effect(const DeviceEntry* before, const RegistryChange& change, std::vector<DeviceId>& affected);
  void tell_nodes();
  void write_down(const DeviceEntry* before, const RegistryChange& change, const std::string& by);
  void recheck(std::vector<DeviceId> devices);

  StoreWorker& worker_;
  const Clock& clock_;
  Log& log_;
  const RegistryLimits limits_;

  // The store thread's.
  ControlLinks links_;
  RegistryView view_;
  std::uint64_t revision_ = 0;  // read through
  bool loaded_ = false;
  bool polling_ = false;
  bool telling_ = false;                  // the other nodes that something has changed
  std::uint64_t floor_ = 0;               // deletions through this one were forgotten before reading began
  std::uint64_t known_ = 0;               // the highest that was heard of, also by what was changed here
  bool anew_ = false;                     // reading all once more
  bool anew_told_ = false;                // and the log says so
  std::unordered_set<std::string> seen_;  // by that
  NudgeBox looks_;
};

}  // namespace fieldgate::control
