// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/command_desk.h"
#include "gateway/control/store_worker.h"
#include "gateway/control/twin_desk.h"
#include "tests/support/faulty_store.h"
#include "tests/support/lane_fakes.h"
#include "tests/unit/control/ledger_world.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// A gateway's store, desks and devices, of which the gateway can be killed at any point
// and begun anew: what is in the store, in the log and in the devices stays.
namespace fieldgate::control {

struct Killed {};

class World : public Downlink, public ControlSink, public LedgerWorld, public SaidRecords {
 public:
  // A message that reached a device.
  struct Received {
    std::string device;
    Epoch epoch;
    DownMessage message;
    const CommandFrame& command() const { return std::get<CommandFrame>(message); }
    const DesiredFrame& desired() const { return std::get<DesiredFrame>(message); }
  };

  explicit World(const CommandSettings& limits = {}) : command_settings(limits) { boot(); }
  ~World() override { end(); }

  // --- the gateway
  void boot() {
    faults->down = false;
    worker = std::make_unique<StoreWorker>(std::make_unique<test::FaultyStore>(store, faults), clock, log);
    commands = std::make_unique<CommandDesk>(*worker, clock, log, command_settings, std::chrono::hours(24));
    twins = std::make_unique<TwinDesk>(*worker, clock, TwinSettings{.document_bytes_max = 200});
    EXPECT_TRUE(worker->open());
    commands->start({{this}, this, &recorder});
    twins->start({{this}, this, &recorder});
    dead = false;
  }
  // As kill -9: nothing that is under way comes to its end.
  void kill() {
    dead = true;
    kill_at.reset();
    store->rollback();
    end();
    online.clear();
    applying = false;
  }
  void restart() {
    kill();
    boot();
  }
  void settle() {
    for (std::size_t before = 0;;) {
      before = journalled;
      pump_journal(*worker, *commands, *twins);
      while (worker->run_once()) {
      }
      if (journalled == before || journalled == journal.size()) return;
    }
  }
  // In steps, so that what is due at a time happens at that time.
  void pass(std::chrono::milliseconds time) {
    for (constexpr std::chrono::milliseconds step{100}; time.count() > 0; time -= std::min(time, step)) {
      clock.passed += std::min(time, step);
      settle();
    }
  }
  void jump(std::chrono::milliseconds time) {
    clock.passed += time;
    settle();
  }
  template <class T>
  T ask(std::function<Result<T>(DeviceStore&)> question) {
    return *question(*store);
  }

  // --- devices
  Epoch connect(const std::string& id) {
    const Epoch epoch{++epochs};
    online.insert_or_assign(id, epoch);
    tell(id, epoch, true);
    return epoch;
  }
  void disconnect(const std::string& id) {
    const auto at = online.find(id);
    if (at == online.end()) return;
    const Epoch epoch = at->second;
    online.erase(at);
    tell(id, epoch, false);
  }
  void tell(const std::string& id, Epoch epoch, bool is_online) {
    DeviceSummary summary{.id = device_id(id), .online = is_online, .epoch = epoch};
    commands->devices_changed({&summary, 1});
    twins->devices_changed({&summary, 1});
    settle();
  }
  // What a device says is in the log from then on.
  void say(const std::string& id, DeviceReply reply, Epoch epoch) {
    write_down(id, std::move(reply), epoch, clock.unix_ms());
  }
  void says(const std::string& id, DeviceReply reply) {
    say(id, std::move(reply), Epoch{epochs});
    settle();
  }

  // --- Downlink
  void send(const DeviceId& id, DownMessage message, Answer answer) override {
    if (dead) return;
    point();
    auto act = [this, id = id.str(), message = std::move(message), answer = std::move(answer)] {
      const auto at = online.find(id);
      Delivery delivery = at == online.end() ? Delivery::offline : Delivery::sent;
      if (at != online.end() && instead) delivery = *instead;
      const Epoch epoch = delivery == Delivery::sent ? at->second : Epoch{};
      if (delivery == Delivery::sent) {
        received.push_back({id, epoch, message});
        if (on_receipt) on_receipt(received.back());
        point();
      }
      const auto* frame = std::get_if<CommandFrame>(&message);
      if (frame != nullptr && (delivery == Delivery::too_large || delivery == Delivery::unsupported)) {
        refused.insert(frame->id);
      }
      if (hold_answers) {
        held.push_back([answer, delivery, epoch] { answer(delivery, epoch); });
      } else {
        answer(delivery, epoch);
      }
    };
    if (hold) {
      held.emplace_back(std::move(act));
    } else {
      act();
    }
  }
  void close(const DeviceId&, EndReason, std::function<void(bool)> answer) override { answer(false); }
  void recheck(std::vector<DeviceId>) override {}
  void release() {
    hold = hold_answers = false;
    for (auto& act : std::exchange(held, {})) act();
    settle();
  }

  // --- ControlSink
  void command_changed(const std::shared_ptr<const CommandEntry>& command) override {
    if (!dead) changes.push_back(*command);
  }
  void twin_changed(const std::shared_ptr<const Twin>& twin) override {
    if (!dead) twin_changes.push_back(*twin);
  }

  // --- what is there
  std::size_t times_received(const std::string& id) const {
    std::size_t count = 0;
    for (const auto& each : received) {
      const auto* frame = std::get_if<CommandFrame>(&each.message);
      if (frame != nullptr && frame->id == id) ++count;
    }
    return count;
  }

  // The id, or the error's name.
  std::string submit(CommandRequest wanted) {
    Asked<Commands::Accepted> answer;
    commands->submit(std::move(wanted), answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    if (!answer.there()) return "no answer";
    return answer->has_value() ? (*answer)->command.id : answer->error().code.message();
  }

  // Every point at which a process can die and it makes a difference.
  void point() {
    ++points;
    if (kill_at && *kill_at == points) {
      dead = true;
      faults->down = true;
      throw Killed();
    }
  }

  CommandSettings command_settings;
  RecordingRecorder recorder;
  std::shared_ptr<test::FaultyStore::Faults> faults = make_faults();
  std::unique_ptr<StoreWorker> worker;
  std::unique_ptr<CommandDesk> commands;
  std::unique_ptr<TwinDesk> twins;

  std::uint64_t epochs = 0;
  std::map<std::string, Epoch> online;
  std::vector<Received> received;
  std::set<std::string> refused;  // commands that a connection could not take
  std::function<void(const Received&)> on_receipt;
  std::optional<Delivery> instead;  // is answered in the place of sent
  bool hold = false;                // neither delivers nor answers
  bool hold_answers = false;        // delivers, but does not answer
  std::vector<std::function<void()>> held;
  bool dead = false;

  std::vector<CommandEntry> changes;
  std::vector<Twin> twin_changes;

  std::uint64_t points = 0;
  std::optional<std::uint64_t> kill_at;

 private:
  std::shared_ptr<test::FaultyStore::Faults> make_faults() {
    auto made = std::make_shared<test::FaultyStore::Faults>();
    made->look = [this](std::string_view) { point(); };
    return made;
  }
  void end() {
    if (worker == nullptr) return;
    held.clear();
    dead = true;
    faults->down = true;
    kill_at.reset();
    worker->stop(std::chrono::milliseconds(0));
    commands.reset();
    twins.reset();
    worker.reset();
  }
};

}  // namespace fieldgate::control
