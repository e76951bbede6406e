// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/admission_desk.h"
#include "gateway/control/fleet_follower.h"
#include "gateway/control/node_reaper.h"
#include "gateway/control/presence_log.h"
#include "gateway/control/registry_desk.h"
#include "gateway/core/ownership.h"
#include "tests/unit/control/journal_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

// One node of a fleet, as the presence log sees it: everything between a device and the
// store but the sockets; and what is held against the log in the end.
namespace fieldgate::control::presence_model {

using namespace std::chrono_literals;

inline constexpr auto k_lease = 3s;

inline PresenceLimits limits() {
  PresenceLimits limits;
  limits.lease = k_lease;
  limits.shared = true;
  return limits;
}

// Which epochs there were, and what was said of them: what the log is held against.
struct Truth {
  std::map<std::string, std::uint64_t> last_epoch;                 // given to a connection
  std::set<std::tuple<std::string, std::uint64_t, bool>> said;     // by the one who decides
  std::map<std::string, std::pair<std::uint64_t, bool>> replayed;  // the log, entry by entry
  std::uint64_t number = 0;                                        // replayed through
  // What there was to see, so that a story that shows nothing is found out.
  std::uint64_t reaped = 0;      // ended by peers, and the connection was no more
  std::uint64_t reasserted = 0;  // ended by peers while it went on, and then online anew
  std::uint64_t taken_over = 0;  // from one node to another
  std::array<std::uint64_t, k_hold_ends.size()> hold_ends{};
};

struct Session {
  DeviceId device;
  Epoch epoch{};
  std::unique_ptr<DeviceState> state{};  // while it owns the device
  bool fenced = false;                   // by another node; ends soon
};

// What a log on disk remembers of devices from one process to the next.
using Logged = std::map<std::string, std::pair<std::uint64_t, bool>>;

// One process of a node.
class Boot final : public OwnershipActions, public Owners {
 public:
  Boot(std::string node, std::string boot_id, std::shared_ptr<DeviceStore> store, JournalFeed& feed, Logged& logged,
       const test::HandClock& clock, Truth& truth)
      : clock_(clock),
        truth_(truth),
        feed_(feed),
        logged_(logged),
        boot_id_(std::move(boot_id)),
        worker(std::make_unique<test::FaultyStore>(std::move(store), faults), clock, log_),
        presence_log(worker, {.name = node, .boot_id = boot_id_, .version = "1"}, clock, log_, limits(), membership_),
        follower_(worker, {.name = node, .boot_id = boot_id_, .version = "1"}, clock, log_, {}, membership_),
        reaper_(worker, {.name = node, .boot_id = boot_id_, .version = "1"}, clock, log_, {.lease = k_lease},
                membership_) {
    faults->is_open = true;
    make_.node = std::move(node);
    lane.add(presence_log);
  }
  // As a process dies: nothing more is written, nobody is told.
  ~Boot() override { worker.stop(0ms); }

  void start() {
    EXPECT_TRUE(worker.open());
    EXPECT_TRUE(registry_.start({}));
    ControlLinks links;
    links.owners = this;
    EXPECT_TRUE(follower_.start(links, [this] { presence_log.reconcile(); }));
    EXPECT_TRUE(presence_log.start(links));
    reaper_.start(links, {});
    for (const auto& [id, last] : logged_) {
      ownership.restore(std::make_unique<DeviceState>(device_id(id), 0), {last.first}, last.second);
    }
    lane.start(feed_);
  }

  void admit(const std::string& id) {
    admission_.admit(device_id(id), {}, [this, id](const AdmissionOutcome& outcome) {
      if (const auto* admitted = std::get_if<Admitted>(&outcome)) {
        auto& last = truth_.last_epoch[id];
        EXPECT_GT(admitted->epoch.value, last) << id << ": epochs only rise";
        last = admitted->epoch.value;
        admitted_.push_back({device_id(id), admitted->epoch});
      } else {
        EXPECT_EQ(std::get<EndReason>(outcome), EndReason::no_epoch);
      }
    });
  }
  // One of those that were admitted reaches the one who decides, in any order.
  void claim(std::mt19937_64& random) {
    if (admitted_.empty()) return;
    const std::size_t at = random() % admitted_.size();
    Session session = std::move(admitted_[at]);
    admitted_.erase(admitted_.begin() + static_cast<std::ptrdiff_t>(at));
    const SessionAddress address{0, {next_slot_++, 0}};
    const DeviceId id = session.device;
    const Epoch epoch = session.epoch;
    sessions_.emplace(address.ref.slot, std::move(session));
    ownership.claim(id, {address, {}, epoch}, clock_.now());
  }
  // Ends one of the connections; `stale`: as one that was ended already ends again. Some are
  // sent away, and the log of those waits for what they do next.
  void disconnect(std::mt19937_64& random, bool stale) {
    std::vector<std::uint32_t> owners;
    for (const auto& [slot, session] : sessions_) {
      if (session.state) owners.push_back(slot);
    }
    if (owners.empty()) return;
    const auto at = sessions_.find(owners[random() % owners.size()]);
    Session session = std::move(at->second);
    sessions_.erase(at);
    static constexpr std::array k_why{EndReason::peer_closed, EndReason::drain, EndReason::age_max};
    ownership.release(session.epoch, std::move(session.state), end_for(k_why[random() % k_why.size()]));
    if (stale) {
      ownership.release(session.epoch, std::make_unique<DeviceState>(session.device, 0),
                        end_for(EndReason::heartbeat_lost));
    }
  }
  // Those that another node has taken end.
  void end_fenced() {
    for (auto at = sessions_.begin(); at != sessions_.end();) {
      if (!at->second.fenced) {
        ++at;
        continue;
      }
      Session session = std::move(at->second);
      at = sessions_.erase(at);
      ++truth_.taken_over;
      ownership.release(session.epoch, std::move(session.state), end_for(EndReason::taken_over));
    }
  }
  const std::string& boot_id() const { return boot_id_; }
  // What was said reaches the log, and then the one who keeps time stamps.
  void flush() {
    if (make_.empty()) return;
    feed_.push(make_.take());
    for (const auto& [id, last] : unlogged_) logged_[id] = last;
    unlogged_.clear();
    lane.notify();
    presence_log.changed(std::exchange(changed_, {}));
  }
  void settle() {
    while (worker.run_once()) {
    }
  }
  // What a stopping process says yet.
  void stop() {
    ownership.hold_no_more();
    flush();
    settle();
  }
  std::optional<Epoch> live(const std::string& id) const {
    const auto found = ownership.find(device_id(id));
    return found && found->owner ? std::optional(found->epoch) : std::nullopt;
  }

  // Owners.
  void superseded(std::vector<Standing> by, const std::string&) override {
    for (const Standing& other : by) {
      if (const auto fenced = ownership.superseded(other.device, other.epoch)) {
        Session& session = sessions_.at(fenced->to.ref.slot);
        session.fenced = session.state != nullptr && session.epoch == fenced->epoch;
      }
    }
  }
  void renew(std::vector<Standing> lost, std::function<void(Standing)> failed) override {
    for (const Standing& one : lost) {
      if (live(one.device.str()) != one.epoch) continue;
      admission_.renew(one.device, one.epoch, [this, one, failed](const AdmissionOutcome& outcome) {
        const auto* admitted = std::get_if<Admitted>(&outcome);
        if (admitted == nullptr && std::get<EndReason>(outcome) == EndReason::taken_over) return fence(one);
        if (admitted == nullptr) return failed(one);
        auto& last = truth_.last_epoch[one.device.str()];
        EXPECT_GT(admitted->epoch.value, last) << one.device.str() << ": epochs only rise";
        last = admitted->epoch.value;
        go_on(one, admitted->epoch);
      });
    }
  }
  void end(const Standing&, EndReason) override {}
  void list(std::function<void(std::vector<DeviceSummary>)> some) override {
    for (const auto& [slot, session] : sessions_) {
      if (session.state == nullptr) continue;
      DeviceSummary summary{.id = session.device};
      summary.online = true;
      summary.epoch = session.epoch;
      some({summary});
    }
  }
  void compare(std::vector<Standing> believed, std::function<void(std::vector<DeviceSummary>)> otherwise) override {
    for (const Standing& one : believed) {
      const auto found = ownership.find(one.device);
      if (found && (found->owner || found->held)) continue;
      DeviceSummary summary{.id = one.device};
      summary.epoch = found ? std::max(found->epoch, one.epoch) : one.epoch;
      summary.reason = "node_lost";
      otherwise({summary});
    }
  }
  void tell_lost(std::vector<LostConnection> lost) override {
    for (const LostConnection& one : lost) {
      const auto found = ownership.find(one.device);
      if (found && (found->owner || (found->held && found->epoch > one.epoch))) continue;
      const std::string own = std::exchange(make_.node, one.node);
      make_.presence(one.device.str(), one.epoch.value, false, one.boot_id, "node_lost", one.unix_ms);
      make_.node = own;
    }
  }

  // OwnershipActions.
  void grant(SessionAddress to, std::unique_ptr<DeviceState> state, Epoch epoch) override {
    Session& session = sessions_.at(to.ref.slot);
    EXPECT_EQ(session.epoch, epoch);
    session.state = std::move(state);
  }
  void refuse(SessionAddress to, EndReason) override { sessions_.erase(to.ref.slot); }
  void fence(SessionAddress, Epoch, const Claim&) override {}  // it ends when it ends
  void presence(DeviceState& state, bool online, Epoch epoch, EndReason reason) override {
    const std::string why(online ? std::string_view() : to_string(reason));
    if (online) state.since_unix_ms = clock_.unix_ms();
    const std::int64_t now = state.since_unix_ms;
    make_.presence(state.id.str(), epoch.value, online, boot_id_, why, now);
    DeviceSummary summary{.id = state.id};
    summary.online = online;
    summary.epoch = epoch;
    summary.since_unix_ms = summary.last_seen_unix_ms = now;
    summary.reason = why;
    changed_.push_back(std::move(summary));
    unlogged_[state.id.str()] = {epoch.value, online};
    truth_.said.emplace(state.id.str(), epoch.value, online);
  }
  void hold_ended(const DeviceState&, Epoch, HoldEnd how) override {
    ++truth_.hold_ends[static_cast<std::size_t>(how)];
  }

 private:
  ConnectionEnd end_for(EndReason reason) const { return {reason, clock_.now(), clock_.unix_ms()}; }
  void fence(const Standing& lost) {
    for (auto& [slot, session] : sessions_) {
      if (session.device == lost.device && session.epoch == lost.epoch && session.state) session.fenced = true;
    }
  }
  void go_on(const Standing& lost, Epoch fresh) {
    for (auto& [slot, session] : sessions_) {
      if (session.device != lost.device || session.epoch != lost.epoch || session.state == nullptr) continue;
      if (!ownership.renewed(lost.device, lost.epoch, fresh)) return;
      session.epoch = fresh;
      session.fenced = false;
      ++truth_.reasserted;
      return presence(*session.state, true, fresh, EndReason::bye);
    }
  }

  const test::HandClock& clock_;
  Truth& truth_;
  JournalFeed& feed_;
  Logged& logged_;
  const std::string boot_id_;
  test::SilentLog log_;
  MembershipProbe membership_;
  wire::ProtobufWire wire_{LimitSettings{}};
  test::FakeDeadLetters letters_;
  BlockMaker make_;
  std::vector<DeviceSummary> changed_;
  Logged unlogged_;
  std::vector<Session> admitted_;
  std::map<std::uint32_t, Session> sessions_;  // by slot
  std::uint32_t next_slot_ = 0;

 public:
  std::shared_ptr<test::FaultyStore::Faults> faults = std::make_shared<test::FaultyStore::Faults>();
  StoreWorker worker;
  PresenceLog presence_log;
  JournalLane lane{worker, wire_.reader(), letters_, clock_, log_};
  Ownership ownership{{.takeovers_per_minute = 10'000, .peers = true}, *this, [](const DeviceId& id) {
                        return std::make_unique<DeviceState>(id, 0);
                      }};

 private:
  RegistryDesk registry_{worker, clock_, log_, {}};
  AdmissionDesk admission_{worker, registry_, clock_, {.auto_register = true}};
  FleetFollower follower_;
  NodeReaper reaper_;
};

}  // namespace fieldgate::control::presence_model
