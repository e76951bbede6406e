// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/control.h"
#include "gateway/ports/downlink.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::test {

// The registry, commands, twins and timelines in memory, for one thread that asks and any
// number of tests that look. Answers at once, on the thread that asks; or never, where told
// to be mute; or with an error, where told so. Commands stay queued until finish(), but for
// those of name "now", which succeed, and "sent", which are sent, as they are submitted.
class FakeControl final : public Registry, public Commands, public Twins, public Timelines {
 public:
  ControlPorts ports() {
    return {this, this, this, this, [this] {
              const MutexLock lock(mutex_);
              return StoreStatus{!failure_, "fake", failure_ ? failure_->detail : "", 1'700'000'000'000, 0};
            }};
  }

  // Every answer from now on; nullopt: as things are.
  void fail(std::optional<Error> error) {
    const MutexLock lock(mutex_);
    failure_ = std::move(error);
  }
  void set_mute(bool mute) {
    const MutexLock lock(mutex_);
    mute_ = mute;
  }

  // --- Registry
  void get(const DeviceId& id, Reply<DeviceEntry> reply) override {
    give(reply, [&]() -> Result<DeviceEntry> {
      const auto at = entries_.find(id.str());
      if (at == entries_.end()) return make_error(Errc::not_found, "no such device");
      return at->second;
    });
  }
  void put(const DeviceId& id, DevicePatch patch, PutMode mode, std::optional<std::uint64_t> expected, std::string by,
           Reply<DeviceEntry> reply) override {
    give(reply, [&] { return edit(id, patch, mode, expected, by); });
  }
  void put_all(std::vector<Item> items, std::string by, Reply<std::vector<Result<DeviceEntry>>> reply) override {
    give(reply, [&]() -> Result<std::vector<Result<DeviceEntry>>> {
      std::vector<Result<DeviceEntry>> out;
      for (const Item& item : items) {
        Result<DeviceEntry> entry = edit(item.id, item.patch, item.mode, {}, by);
        for (const NewCredential& credential : item.credentials) {
          if (entry) entry = add(item.id, credential);
        }
        out.push_back(std::move(entry));
      }
      return out;
    });
  }
  void remove(const DeviceId& id, std::optional<std::uint64_t> expected, std::string,
              Reply<std::uint64_t> reply) override {
    give(reply, [&]() -> Result<std::uint64_t> {
      const auto at = entries_.find(id.str());
      if (at == entries_.end()) return make_error(Errc::not_found, "no such device");
      if (expected && *expected != at->second.revision) return make_error(Errc::conflict, "changed since");
      entries_.erase(at);
      return ++revision_;
    });
  }
  void add_credential(const DeviceId& id, NewCredential credential, std::string,
                      Reply<DeviceCredential> reply) override {
    give(reply, [&]() -> Result<DeviceCredential> {
      const auto entry = add(id, credential);
      if (!entry) return entry.error();
      return entry->credentials.back();
    });
  }
  void remove_credential(const DeviceId& id, const std::string& credential_id, std::string,
                         Reply<bool> reply) override {
    give(reply, [&]() -> Result<bool> {
      const auto at = entries_.find(id.str());
      const auto is = [&](const DeviceCredential& one) { return one.id == credential_id; };
      if (at == entries_.end() || std::erase_if(at->second.credentials, is) == 0) {
        return make_error(Errc::not_found, "no such credential");
      }
      at->second.revision = ++revision_;
      return true;
    });
  }
  void list(std::string after, std::size_t limit, Reply<std::vector<DeviceEntry>> reply) override {
    give(reply, [&]() -> Result<std::vector<DeviceEntry>> {
      std::vector<DeviceEntry> out;
      for (auto at = entries_.upper_bound(after); at != entries_.end() && out.size() < limit; ++at) {
        out.push_back(at->second);
      }
      return out;
    });
  }

  // --- Commands
  void submit(CommandRequest request, Reply<Accepted> reply) override {
    give(reply, [&]() -> Result<Accepted> {
      if (entries_.count(request.device.str()) == 0) return make_error(Errc::not_found, "no such device");
      for (const auto& [id, known] : commands_) {
        if (request.idempotency_key.empty() || known.device != request.device ||
            known.idempotency_key != request.idempotency_key) {
          continue;
        }
        if (known.name != request.name || known.payload != request.payload)
          return make_error(Errc::conflict, "another");
        return Accepted{known, false};
      }
      if (commands_.size() >= room) return make_error(Errc::full, "as many commands as may be wait already");
      if (request.payload.size() > 16'384) return make_error(Errc::too_large, "payload: at most 16384 bytes");
      CommandEntry command{"c" + std::to_string(1'000 + commands_.size()), request.device, request.name};
      command.payload = std::move(request.payload);
      command.created_unix_ms = 1'700'000'000'000;
      command.expires_unix_ms = command.created_unix_ms + request.ttl.value_or(std::chrono::seconds(300)).count();
      command.timeout_ms = static_cast<std::uint32_t>(request.timeout.value_or(std::chrono::seconds(30)).count());
      command.at_most_once = request.at_most_once;
      command.idempotency_key = std::move(request.idempotency_key);
      command.source = std::move(request.source);
      command.steps = {{CommandState::queued, command.created_unix_ms, {}, {}}};
      if (command.name == "now") end(command, CommandState::succeeded);
      if (command.name == "sent") send(command);
      commands_.emplace(command.id, command);
      return Accepted{command, true};
    });
  }
  void get(const std::string& id, Reply<CommandEntry> reply) override {
    give(reply, [&] { return found(id); });
  }
  void wait(const std::string& id, std::chrono::milliseconds, Reply<CommandEntry> reply) override {
    {
      const MutexLock lock(mutex_);
      const auto at = commands_.find(id);
      if (at != commands_.end() && !is_final(at->second.state) && !patience_is_over) {
        waiting_.emplace_back(id, std::move(reply));
        return;
      }
    }
    give(reply, [&] { return found(id); });
  }
  void list(const DeviceId& device, std::string before, std::size_t limit,
            Reply<std::vector<CommandEntry>> reply) override {
    give(reply, [&]() -> Result<std::vector<CommandEntry>> {
      if (!before.empty() && commands_.count(before) == 0) return make_error(Errc::not_found, "no command " + before);
      std::vector<CommandEntry> out;
      for (auto at = commands_.rbegin(); at != commands_.rend() && out.size() < limit; ++at) {
        if (at->second.device == device && (before.empty() || at->first < before)) out.push_back(at->second);
      }
      return out;
    });
  }
  void cancel(const std::string& id, std::string, Reply<CommandEntry> reply) override {
    give(reply, [&]() -> Result<CommandEntry> {
      const auto at = commands_.find(id);
      if (at == commands_.end()) return make_error(Errc::not_found, "no such command");
      if (is_final(at->second.state)) return make_error(Errc::conflict, "it has ended");
      at->second.cancel_wanted = true;
      if (at->second.state == CommandState::queued) end(at->second, CommandState::cancelled);
      return at->second;
    });
  }
  // As the device would say; answers those who wait for it.
  void finish(const std::string& id, CommandState state) {
    std::vector<Reply<CommandEntry>> told;
    std::optional<CommandEntry> command;
    {
      const MutexLock lock(mutex_);
      CommandEntry& entry = commands_.at(id);
      end(entry, state);
      command = entry;
      for (auto& [wanted, reply] : waiting_) {
        if (wanted == id) told.push_back(std::move(reply));
      }
      std::erase_if(waiting_, [&](const auto& one) { return one.first == id; });
    }
    for (const auto& reply : told) reply(*command);
  }
  void clear_commands() {
    const MutexLock lock(mutex_);
    commands_.clear();
  }
  void set_sent(const std::string& id) {
    const MutexLock lock(mutex_);
    send(commands_.at(id));
  }

  // --- Twins
  void get(const DeviceId& id, Reply<Twin> reply) override {
    give(reply, [&]() -> Result<Twin> {
      if (entries_.count(id.str()) == 0) return make_error(Errc::not_found, "no such device");
      return twins_.try_emplace(id.str(), Twin{id}).first->second;
    });
  }
  void set_desired(const DeviceId& id, std::string json, bool patch, std::optional<std::uint64_t> expected, std::string,
                   Reply<Twin> reply) override {
    give(reply, [&]() -> Result<Twin> {
      if (entries_.count(id.str()) == 0) return make_error(Errc::not_found, "no such device");
      Twin& twin = twins_.try_emplace(id.str(), Twin{id}).first->second;
      if (expected && *expected != twin.desired_version) return make_error(Errc::conflict, "changed since");
      if (json.size() > 32'768) return make_error(Errc::too_large, "the document: at most 32768 bytes");
      patched = patch;
      twin.desired_json = std::move(json);
      ++twin.desired_version;
      twin.desired_unix_ms = 1'700'000'000'000;
      return twin;
    });
  }
  void set_twin(const Twin& twin) {
    const MutexLock lock(mutex_);
    twins_.insert_or_assign(twin.device.str(), twin);
  }

  // --- Timelines
  void timeline(const DeviceId& id, std::uint64_t before, std::size_t limit,
                Reply<std::vector<TimelineEntry>> reply) override {
    give(reply, [&]() -> Result<std::vector<TimelineEntry>> {
      std::vector<TimelineEntry> out;
      for (auto at = timeline_.rbegin(); at != timeline_.rend() && out.size() < limit; ++at) {
        if (at->device == id && (before == 0 || at->number < before)) out.push_back(*at);
      }
      return out;
    });
  }
  void presence(const DeviceId& id, std::uint64_t before, std::size_t limit,
                Reply<std::vector<PresenceEvent>> reply) override {
    give(reply, [&]() -> Result<std::vector<PresenceEvent>> {
      std::vector<PresenceEvent> out;
      for (auto at = presence_.rbegin(); at != presence_.rend() && out.size() < limit; ++at) {
        if (at->device == id && (before == 0 || at->number < before)) out.push_back(*at);
      }
      return out;
    });
  }
  std::vector<RefusalEntry> refusals(std::size_t limit) const override {
    const MutexLock lock(mutex_);
    return {refusals_.begin(), refusals_.begin() + static_cast<std::ptrdiff_t>(std::min(limit, refusals_.size()))};
  }
  void nodes(Reply<std::vector<NodeRow>> reply) override {
    give(reply, [&]() -> Result<std::vector<NodeRow>> {
      return std::vector<NodeRow>{{"edge-1", "b00t", "0.1.0", 1'699'999'000'000, 1'700'000'015'000, true},
                                  {"edge-2", "0ld", "0.1.0", 1'699'000'000'000, 1'699'100'000'000, false}};
    });
  }
  void add_history(const DeviceId& id, std::size_t entries) {
    const MutexLock lock(mutex_);
    for (std::size_t i = 1; i <= entries; ++i) {
      const auto ms = 1'700'000'000'000 + static_cast<std::int64_t>(i);
      timeline_.push_back({id, TimelineKind::disconnected, ms, {i}, {{"reason", "bye"}}, i});
      presence_.push_back({id, {i}, i % 2 == 1, "edge-1", "b00t", ms, i % 2 == 1 ? "" : "bye", i});
    }
    refusals_.push_back({1'700'000'000'000, "auth_failed", "10.0.0.9:4711", "token: not known\xff"});
  }

  std::size_t room = 1'000;  // commands
  bool patience_is_over = false;
  bool patched = false;  // the last desired document came as a merge patch
  std::string last_by;

 private:
  // Runs `make` and gives what it made, without the lock; or what the test wants instead.
  template <class T, class Make>
  void give(const Reply<T>& reply, Make make) {
    std::optional<Result<T>> result;
    {
      const MutexLock lock(mutex_);
      if (mute_) return;
      result.emplace(failure_ ? Result<T>(*failure_) : Result<T>(make()));
    }
    reply(std::move(*result));
  }

  Result<DeviceEntry> edit(const DeviceId& id, const DevicePatch& patch, PutMode mode,
                           std::optional<std::uint64_t> expected, const std::string& by) REQUIRES(mutex_) {
    last_by = by;
    const auto at = entries_.find(id.str());
    const bool known = at != entries_.end();
    if (mode == PutMode::create && known) return make_error(Errc::conflict, "it is there");
    if (mode == PutMode::update && !known) return make_error(Errc::not_found, "no such device");
    if (expected && (!known || at->second.revision != *expected)) return make_error(Errc::conflict, "changed since");
    if (patch.note == "refuse me") return make_error(Errc::invalid_argument, "note: not this one");
    DeviceEntry entry = known ? at->second : DeviceEntry{id, true, {}, {}};
    if (mode == PutMode::replace) {
      entry.enabled = true;
      entry.labels.clear();
      entry.note.clear();
    }
    if (patch.enabled) entry.enabled = *patch.enabled;
    if (patch.note) entry.note = *patch.note;
    if (patch.labels) entry.labels = *patch.labels;
    for (const auto& [key, value] : patch.label_changes) {
      std::erase_if(entry.labels, [&](const auto& label) { return label.first == key; });
      if (value) entry.labels.emplace_back(key, *value);
    }
    std::sort(entry.labels.begin(), entry.labels.end());
    if (known && entry.enabled == at->second.enabled && entry.labels == at->second.labels &&
        entry.note == at->second.note) {
      return at->second;
    }
    entry.revision = ++revision_;
    entry.updated_unix_ms = 1'700'000'000'000 + static_cast<std::int64_t>(entry.revision);
    if (!known) entry.created_unix_ms = entry.updated_unix_ms;
    return entries_.insert_or_assign(id.str(), entry).first->second;
  }

  Result<DeviceEntry> add(const DeviceId& id, const NewCredential& wanted) REQUIRES(mutex_) {
    const auto at = entries_.find(id.str());
    if (at == entries_.end()) return make_error(Errc::not_found, "no such device");
    for (const auto& [other, entry] : entries_) {
      for (const DeviceCredential& one : entry.credentials) {
        if (one.sha256 == wanted.sha256) return make_error(Errc::conflict, "the hash is taken");
      }
    }
    if (at->second.credentials.size() >= k_credentials_per_device_max) return make_error(Errc::full, "8 of them");
    at->second.revision = ++revision_;
    at->second.credentials.push_back({"k" + std::to_string(revision_), wanted.kind, wanted.sha256, 1'700'000'000'000,
                                      wanted.expires_unix_ms, wanted.note});
    return at->second;
  }

  Result<CommandEntry> found(const std::string& id) REQUIRES(mutex_) {
    const auto at = commands_.find(id);
    if (at == commands_.end()) return make_error(Errc::not_found, "no such command");
    return at->second;
  }

  static void send(CommandEntry& command) {
    command.state = CommandState::sent;
    command.sends = 1;
    command.steps.push_back({CommandState::sent, command.created_unix_ms + 5, {7}, {}});
  }

  static void end(CommandEntry& command, CommandState state) {
    command.state = state;
    command.steps.push_back({state, command.created_unix_ms + 10, {7}, "told to"});
    if (state != CommandState::succeeded) return;
    command.result_text = "done";
    command.result_payload = {std::byte{'4'}, std::byte{'2'}};
  }

  mutable Mutex mutex_;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  bool mute_ GUARDED_BY(mutex_) = false;
  std::uint64_t revision_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, DeviceEntry, std::less<>> entries_ GUARDED_BY(mutex_);
  std::map<std::string, CommandEntry> commands_ GUARDED_BY(mutex_);
  std::vector<std::pair<std::string, Reply<CommandEntry>>> waiting_ GUARDED_BY(mutex_);
  std::map<std::string, Twin> twins_ GUARDED_BY(mutex_);
  std::vector<TimelineEntry> timeline_ GUARDED_BY(mutex_);
  std::vector<PresenceEvent> presence_ GUARDED_BY(mutex_);
  std::vector<RefusalEntry> refusals_ GUARDED_BY(mutex_);
};

// Reaches those devices that it is told are online.
class FakeDownlink final : public Downlink {
 public:
  void send(const DeviceId&, DownMessage, Answer answer) override { answer(Delivery::offline, {}); }
  void close(const DeviceId& id, EndReason reason, std::function<void(bool)> answer) override {
    bool there = false;
    {
      const MutexLock lock(mutex_);
      last_reason_ = reason;
      there = online_.erase(id.str()) != 0;
    }
    answer(there);
  }
  void recheck(std::vector<DeviceId>) override {}
  void set_online(const std::string& id) {
    const MutexLock lock(mutex_);
    online_.insert(id);
  }
  std::optional<EndReason> last_reason() {
    const MutexLock lock(mutex_);
    return last_reason_;
  }

 private:
  Mutex mutex_;
  std::set<std::string> online_ GUARDED_BY(mutex_);
  std::optional<EndReason> last_reason_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate::test
