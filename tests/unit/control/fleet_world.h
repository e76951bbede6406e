// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/change_listener.h"
#include "gateway/control/change_teller.h"
#include "gateway/control/command_desk.h"
#include "gateway/control/store_worker.h"
#include "gateway/control/twin_desk.h"
#include "tests/support/fake_peers.h"
#include "tests/support/faulty_store.h"
#include "tests/support/lane_fakes.h"
#include "tests/unit/control/ledger_world.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

// Several gateways on one store, with messages between them, and devices that connect to
// one or the other. Any of them can be killed and begun anew.
namespace fieldgate::control {

class FleetWorld;

// One gateway: its desks, its log, and the connections it has.
class FleetNode : public Downlink, public ControlSink, public SaidRecords {
 public:
  FleetNode(FleetWorld& world, std::string name) : world_(world), name_(std::move(name)) { boot(); }
  ~FleetNode() override { kill(); }

  void boot();
  // As kill -9: nothing that is under way comes to its end.
  void kill();
  bool turn();

  const std::string& name() const { return name_; }
  bool alive() const { return worker != nullptr; }

  // --- Downlink
  void send(const DeviceId& id, DownMessage message, Answer answer) override;
  void close(const DeviceId&, EndReason, std::function<void(bool)> answer) override { answer(false); }
  void recheck(std::vector<DeviceId>) override {}
  void release() {
    hold = hold_answers = false;
    for (auto& act : std::exchange(held, {})) act();
  }
  // --- ControlSink
  void command_changed(const std::shared_ptr<const CommandEntry>& command) override { changes.push_back(*command); }
  void command_seen(const std::shared_ptr<const CommandEntry>& command) override {
    seen.push_back(command->device.str() + " " + std::string(to_string(command->state)));
  }
  void twin_seen(const std::shared_ptr<const Twin>& twin) override {
    seen.push_back(twin->device.str() + " desired " + std::to_string(twin->desired_version));
  }
  void changes_missed(std::optional<std::uint64_t> count) override {
    seen.push_back("missed " + (count ? std::to_string(*count) : "?"));
  }

  std::unique_ptr<StoreWorker> worker;
  std::unique_ptr<CommandDesk> commands;
  std::unique_ptr<TwinDesk> twins;
  std::unique_ptr<ChangeTeller> teller;
  std::unique_ptr<ChangeListener> listener;  // hears of the fleet what fleet() says
  std::shared_ptr<test::FaultyStore::Faults> faults = std::make_shared<test::FaultyStore::Faults>();
  std::map<std::string, Epoch> online;
  std::vector<CommandEntry> changes;
  std::vector<std::string> seen;  // of what others wrote: "DEVICE STATE", "DEVICE desired VERSION", "missed COUNT"
  RecordingRecorder recorder;
  bool hold = false;          // neither delivers nor answers
  bool hold_answers = false;  // delivers, but does not answer
  std::vector<std::function<void()>> held;

 private:
  FleetWorld& world_;
  const std::string name_;
  int boots_ = 0;
};

class FleetWorld : public LedgerWorld {
 public:
  struct Received {
    std::string node;
    std::string device;
    Epoch epoch;
    DownMessage message;
  };

  explicit FleetWorld(std::vector<std::string> names = {"a", "b"}, const CommandSettings& limits = {})
      : command_settings(limits) {
    EXPECT_TRUE(store->open());
    for (std::string& name : names) nodes.emplace(name, std::make_unique<FleetNode>(*this, name));
  }
  FleetNode& node(const std::string& name) { return *nodes.at(name); }

  // Until there is nothing to do at this moment. Letters arrive, if they are to.
  void settle() {
    for (bool any = true; any;) {
      any = false;
      for (auto& [name, each] : nodes) any = each->turn() || any;
      if (any || !post_works) continue;
      any = !net.letters.empty();
      while (!net.letters.empty()) net.deliver(0);
    }
  }
  void pass(std::chrono::milliseconds time) {
    for (constexpr std::chrono::milliseconds step{100}; time.count() > 0; time -= std::min(time, step)) {
      clock.passed += std::min(time, step);
      settle();
    }
  }

  // Each that lives hears which others do.
  void fleet() {
    FleetView view{clock.unix_ms(), {}};
    for (auto& [name, each] : nodes) {
      NodeRow row{.name = name, .boot_id = net.node(name).boot_id, .version = "1"};
      row.live = each->alive();
      view.nodes.push_back(std::move(row));
    }
    for (auto& [name, each] : nodes) {
      if (each->alive()) each->listener->fleet_known(view);
    }
    settle();
  }
  // The connection; what the store knows of it comes with presence().
  Epoch connect(const std::string& id, const std::string& to) {
    const Epoch epoch{++epochs};
    node(to).online.insert_or_assign(id, epoch);
    tell(id, to, epoch, true);
    return epoch;
  }
  void disconnect(const std::string& id, const std::string& from) {
    const auto at = node(from).online.find(id);
    if (at == node(from).online.end()) return;
    const Epoch epoch = at->second;
    node(from).online.erase(at);
    tell(id, from, epoch, false);
  }
  void presence(const std::string& id, const std::string& of, Epoch epoch, bool is_online) {
    const PresenceEvent event{.device = device_id(id),
                              .epoch = epoch,
                              .online = is_online,
                              .node = of,
                              .boot_id = "boot",
                              .unix_ms = clock.unix_ms(),
                              .reason = is_online ? "" : "closed"};
    EXPECT_TRUE(store->add_presence({&event, 1}));
  }
  // Both at once.
  Epoch arrive(const std::string& id, const std::string& to) {
    const Epoch epoch = connect(id, to);
    presence(id, to, epoch, true);
    settle();
    return epoch;
  }
  void leave(const std::string& id, const std::string& from) {
    const Epoch epoch = node(from).online.at(id);
    disconnect(id, from);
    presence(id, from, epoch, false);
    settle();
  }
  void tell(const std::string& id, const std::string& at, Epoch epoch, bool is_online) {
    if (!node(at).alive()) return;
    DeviceSummary summary{.id = device_id(id), .online = is_online, .epoch = epoch};
    node(at).commands->devices_changed({&summary, 1});
    node(at).twins->devices_changed({&summary, 1});
  }
  // What a device says is in that node's log from then on.
  void say(const std::string& id, const std::string& to, DeviceReply reply, Epoch epoch) {
    node(to).write_down(id, std::move(reply), epoch, clock.unix_ms());
  }

  std::string submit(const std::string& at, CommandRequest wanted) {
    Asked<Commands::Accepted> answer;
    node(at).commands->submit(std::move(wanted), answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return answer->has_value() ? (*answer)->command.id : answer->error().code.message();
  }

  std::size_t times_received(const std::string& id) const {
    return static_cast<std::size_t>(std::ranges::count_if(received, [&](const Received& each) {
      const auto* frame = std::get_if<CommandFrame>(&each.message);
      return frame != nullptr && frame->id == id;
    }));
  }
  // How often it was told, by whichever node, that the command has ended.
  std::size_t times_told_final(const std::string& id) {
    std::size_t count = 0;
    for (auto& [name, each] : nodes) {
      count += static_cast<std::size_t>(std::ranges::count_if(
          each->changes, [&](const CommandEntry& entry) { return entry.id == id && is_final(entry.state); }));
    }
    return count;
  }

  CommandSettings command_settings;
  test::FakePeerNet net;
  bool post_works = true;  // letters arrive by themselves, at once
  std::map<std::string, std::unique_ptr<FleetNode>> nodes;
  std::uint64_t epochs = 0;
  std::vector<Received> received;
  std::function<void(const Received&)> on_receipt;
};

inline void FleetNode::boot() {
  faults->down = false;
  faults->fail_at.reset();
  faults->opened = true;
  worker = std::make_unique<StoreWorker>(std::make_unique<test::FaultyStore>(world_.store, faults), world_.clock,
                                         world_.log);
  commands =
      std::make_unique<CommandDesk>(*worker, world_.clock, world_.log, world_.command_settings, std::chrono::hours(24));
  twins = std::make_unique<TwinDesk>(*worker, world_.clock, TwinSettings{});
  EXPECT_TRUE(worker->open());
  auto& peers = world_.net.node(name_);
  peers.boot_id = "boot" + (boots_++ == 0 ? "" : "-" + std::to_string(boots_));
  ControlLinks links{{this}, this, &recorder, &peers, name_};
  teller = std::make_unique<ChangeTeller>(*worker, peers.boot_id, world_.clock);
  teller->start(links);
  listener = std::make_unique<ChangeListener>(*worker, name_, world_.clock, world_.log);
  listener->start(links);
  links.sinks.push_back(teller.get());
  commands->start(links);
  twins->start(links);
}

inline void FleetNode::kill() {
  if (worker == nullptr) return;
  world_.net.node(name_).forget();
  held.clear();
  hold = hold_answers = false;
  online.clear();
  faults->down = true;
  worker->stop(std::chrono::milliseconds(0));
  commands.reset();
  twins.reset();
  teller.reset();
  listener.reset();
  worker.reset();
  applying = false;
}

inline bool FleetNode::turn() {
  if (!alive()) return false;
  const bool journalling = pump_journal(*worker, *commands, *twins);
  return worker->run_once() || journalling;
}

inline void FleetNode::send(const DeviceId& id, DownMessage message, Answer answer) {
  auto act = [this, id = id.str(), message = std::move(message), answer = std::move(answer)] {
    const auto at = online.find(id);
    const Delivery delivery = at == online.end() ? Delivery::offline : Delivery::sent;
    const Epoch epoch = delivery == Delivery::sent ? at->second : Epoch{};
    if (delivery == Delivery::sent) {
      world_.received.push_back({name_, id, epoch, message});
      if (world_.on_receipt) world_.on_receipt(FleetWorld::Received(world_.received.back()));
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

}  // namespace fieldgate::control
