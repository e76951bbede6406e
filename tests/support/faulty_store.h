// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/device_store.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::test {

// A store that fails when it is told to, and passes everything else on. One thread.
class FaultyStore final : public DeviceStore {
 public:
  // What the test holds of it, for the store itself belongs to the worker.
  struct Faults {
    bool down = false;                           // every call fails with Errc::unavailable
    bool is_open = false;                        // open() is not passed on: another one did it
    std::optional<std::uint64_t> fail_at;        // the call of this number does, once
    Errc error = Errc::unavailable;              // with this
    std::function<void(std::string_view)> look;  // hears the name of every call
    std::function<void()> interrupted;           // hears of an interrupt(), on its thread
    std::shared_ptr<DeviceStore> next;           // open; takes the store's place at the next begin()
    bool commit_unheard = false;                 // the next commit() fails, although it is kept
    std::uint64_t calls = 0;
    std::uint64_t begins = 0;
    std::uint64_t commits = 0;  // that succeeded
    std::uint64_t rollbacks = 0;
    bool opened = false;
  };

  // `inner` may be shared with one that comes later, as a store outlives a process: it is
  // opened once.
  FaultyStore(std::shared_ptr<DeviceStore> inner, std::shared_ptr<Faults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}

  Result<void> open() override {
    return pass<void>("open", [&]() -> Result<void> {
      if (faults_->opened) return {};
      auto done = inner_->open();
      faults_->opened = done.has_value();
      return done;
    });
  }
  Result<void> begin() override {
    ++faults_->begins;
    if (faults_->next) inner_ = std::exchange(faults_->next, nullptr);
    return pass<void>("begin", [&] { return inner_->begin(); });
  }
  Result<void> commit() override {
    auto done = pass<void>("commit", [&] { return inner_->commit(); });
    if (done) ++faults_->commits;
    if (done && std::exchange(faults_->commit_unheard, false)) return make_error(Errc::unavailable, "no answer");
    return done;
  }
  void rollback() noexcept override {
    ++faults_->rollbacks;
    inner_->rollback();
  }
  std::string description() const override { return "faulty " + inner_->description(); }
  Result<std::vector<std::string>> explain() override { return inner_->explain(); }

  Result<std::optional<DeviceEntry>> device(const DeviceId& id) override {
    return pass<std::optional<DeviceEntry>>("device", [&] { return inner_->device(id); });
  }
  Result<DeviceEntry> put_device(const DeviceEntry& entry, std::optional<std::uint64_t> expected) override {
    return pass<DeviceEntry>("put_device", [&] { return inner_->put_device(entry, expected); });
  }
  Result<std::optional<RegistryChange>> delete_device(const DeviceId& id,
                                                      std::optional<std::uint64_t> expected) override {
    return pass<std::optional<RegistryChange>>("delete_device", [&] { return inner_->delete_device(id, expected); });
  }
  void interrupt() noexcept override {
    if (faults_->interrupted) faults_->interrupted();
    inner_->interrupt();
  }
  Result<RegistryMarks> registry_marks() override {
    return pass<RegistryMarks>("registry_marks", [&] { return inner_->registry_marks(); });
  }
  Result<std::size_t> trim_deletions(std::uint64_t keep, std::size_t limit) override {
    return pass<std::size_t>("trim_deletions", [&] { return inner_->trim_deletions(keep, limit); });
  }
  Result<std::vector<RegistryChange>> registry_changes(std::uint64_t revision, std::size_t limit) override {
    return pass<std::vector<RegistryChange>>("registry_changes",
                                             [&] { return inner_->registry_changes(revision, limit); });
  }
  Result<std::vector<ClaimOutcome>> claim(std::span<const ClaimRequest> requests) override {
    return pass<std::vector<ClaimOutcome>>("claim", [&] { return inner_->claim(requests); });
  }
  Result<std::size_t> add_presence(std::span<const PresenceEvent> events) override {
    return pass<std::size_t>("add_presence", [&] { return inner_->add_presence(events); });
  }
  Result<void> set_seen(std::span<const SeenUpdate> updates) override {
    return pass<void>("set_seen", [&] { return inner_->set_seen(updates); });
  }
  Result<void> set_profiles(std::span<const ProfileUpdate> updates) override {
    return pass<void>("set_profiles", [&] { return inner_->set_profiles(updates); });
  }
  Result<std::vector<PresenceEvent>> end_earlier_boots(const std::string& node, const std::string& boot_id,
                                                       std::int64_t unix_ms, std::size_t limit) override {
    return pass<std::vector<PresenceEvent>>("end_earlier_boots",
                                            [&] { return inner_->end_earlier_boots(node, boot_id, unix_ms, limit); });
  }
  Result<std::vector<PresenceEvent>> end_dead_node(const std::string& node, std::int64_t unix_ms,
                                                   std::size_t limit) override {
    return pass<std::vector<PresenceEvent>>("end_dead_node",
                                            [&] { return inner_->end_dead_node(node, unix_ms, limit); });
  }
  Result<std::vector<PresenceRow>> presence_of(std::span<const DeviceId> devices) override {
    return pass<std::vector<PresenceRow>>("presence_of", [&] { return inner_->presence_of(devices); });
  }
  Result<std::uint64_t> presence_number() override {
    return pass<std::uint64_t>("presence_number", [&] { return inner_->presence_number(); });
  }
  Result<std::vector<PresenceRow>> presence_rows(std::string_view after_id, std::size_t limit) override {
    return pass<std::vector<PresenceRow>>("presence_rows", [&] { return inner_->presence_rows(after_id, limit); });
  }
  Result<std::vector<PresenceEvent>> presence_log(const DeviceId* device, std::uint64_t after,
                                                  std::size_t limit) override {
    return pass<std::vector<PresenceEvent>>("presence_log", [&] { return inner_->presence_log(device, after, limit); });
  }
  Result<std::vector<PresenceEvent>> device_presence(const DeviceId& device, std::uint64_t before,
                                                     std::size_t limit) override {
    return pass<std::vector<PresenceEvent>>("device_presence",
                                            [&] { return inner_->device_presence(device, before, limit); });
  }
  Result<std::size_t> trim_presence(std::uint64_t keep, std::size_t limit) override {
    return pass<std::size_t>("trim_presence", [&] { return inner_->trim_presence(keep, limit); });
  }
  Result<Inserted> insert_command(const CommandEntry& command) override {
    return pass<Inserted>("insert_command", [&] { return inner_->insert_command(command); });
  }
  Result<std::optional<CommandEntry>> advance_command(const CommandAdvance& advance) override {
    return pass<std::optional<CommandEntry>>("advance_command", [&] { return inner_->advance_command(advance); });
  }
  Result<std::optional<CommandEntry>> command(std::string_view id) override {
    return pass<std::optional<CommandEntry>>("command", [&] { return inner_->command(id); });
  }
  Result<std::vector<CommandEntry>> commands_by_id(std::span<const std::string> ids) override {
    return pass<std::vector<CommandEntry>>("commands_by_id", [&] { return inner_->commands_by_id(ids); });
  }
  Result<std::vector<CommandEntry>> open_commands(const DeviceId& device, std::string_view after,
                                                  std::size_t limit) override {
    return pass<std::vector<CommandEntry>>("open_commands",
                                           [&] { return inner_->open_commands(device, after, limit); });
  }
  Result<std::vector<CommandRef>> open_command_refs(std::string_view after, std::size_t limit) override {
    return pass<std::vector<CommandRef>>("open_command_refs", [&] { return inner_->open_command_refs(after, limit); });
  }
  Result<std::vector<CommandEntry>> overdue_commands(std::int64_t unix_ms, const CommandDue& after,
                                                     std::size_t limit) override {
    return pass<std::vector<CommandEntry>>("overdue_commands",
                                           [&] { return inner_->overdue_commands(unix_ms, after, limit); });
  }
  Result<std::size_t> queued_commands(const DeviceId& device) override {
    return pass<std::size_t>("queued_commands", [&] { return inner_->queued_commands(device); });
  }
  Result<std::size_t> open_command_count() override {
    return pass<std::size_t>("open_command_count", [&] { return inner_->open_command_count(); });
  }
  Result<std::vector<CommandEntry>> commands(const DeviceId& device, std::string_view before,
                                             std::size_t limit) override {
    return pass<std::vector<CommandEntry>>("commands", [&] { return inner_->commands(device, before, limit); });
  }
  Result<std::size_t> trim_commands(std::int64_t unix_ms, std::size_t limit) override {
    return pass<std::size_t>("trim_commands", [&] { return inner_->trim_commands(unix_ms, limit); });
  }
  Result<std::optional<Twin>> twin(const DeviceId& id) override {
    return pass<std::optional<Twin>>("twin", [&] { return inner_->twin(id); });
  }
  Result<void> put_twin(const Twin& twin) override {
    return pass<void>("put_twin", [&] { return inner_->put_twin(twin); });
  }
  Result<void> add_timeline(std::span<const TimelineEntry> entries, std::uint32_t keep) override {
    return pass<void>("add_timeline", [&] { return inner_->add_timeline(entries, keep); });
  }
  Result<std::vector<TimelineEntry>> timeline(const DeviceId& device, std::uint64_t before,
                                              std::size_t limit) override {
    return pass<std::vector<TimelineEntry>>("timeline", [&] { return inner_->timeline(device, before, limit); });
  }
  Result<void> lease(const NodeRow& node, std::chrono::seconds term) override {
    return pass<void>("lease", [&] { return inner_->lease(node, term); });
  }
  Result<std::vector<NodeRow>> nodes() override {
    return pass<std::vector<NodeRow>>("nodes", [&] { return inner_->nodes(); });
  }
  Result<std::size_t> forget_nodes(std::chrono::seconds lost_for) override {
    return pass<std::size_t>("forget_nodes", [&] { return inner_->forget_nodes(lost_for); });
  }

 private:
  template <class T, class Call>
  Result<T> pass(std::string_view name, Call call) {
    const std::uint64_t number = faults_->calls++;
    if (faults_->look) faults_->look(name);
    if (faults_->down) return make_error(Errc::unavailable, "no route to the store");
    if (faults_->fail_at == number) {
      faults_->fail_at.reset();
      return make_error(faults_->error, "told to fail");
    }
    return call();
  }

  std::shared_ptr<DeviceStore> inner_;
  std::shared_ptr<Faults> faults_;
};

}  // namespace fieldgate::test
