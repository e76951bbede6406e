// SPDX-License-Identifier: Apache-2.0
//
// Three nodes, one store, and everything that can go wrong between a device and the
// presence log: takeovers, on one node and from one to another, late disconnects, dying
// nodes that their peers clear up after, nodes that go on while nobody can see them and come
// back, restarts that read the log again or find it lost, records given up, a store that
// fails or goes away.
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
#include <cstdlib>
#include <iostream>
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

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

constexpr auto k_lease = 3s;

PresenceLimits limits() {
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
        presence_log(worker, {.name = node, .boot_id = boot_id_, .version = "1"}, clock, log_, limits()),
        follower_(worker, {.name = node, .boot_id = boot_id_, .version = "1"}, clock, log_, {}),
        reaper_(worker, {.name = node, .boot_id = boot_id_, .version = "1"}, clock, log_, {.lease = k_lease}) {
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
  // Ends one of the connections; `stale`: as one that was ended already ends again.
  void disconnect(std::mt19937_64& random, bool stale) {
    std::vector<std::uint32_t> owners;
    for (const auto& [slot, session] : sessions_) {
      if (session.state) owners.push_back(slot);
    }
    if (owners.empty()) return;
    const auto at = sessions_.find(owners[random() % owners.size()]);
    Session session = std::move(at->second);
    sessions_.erase(at);
    ownership.release(session.epoch, std::move(session.state), EndReason::peer_closed);
    if (stale) {
      ownership.release(session.epoch, std::make_unique<DeviceState>(session.device, 0), EndReason::heartbeat_lost);
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
      ownership.release(session.epoch, std::move(session.state), EndReason::taken_over);
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
      admission_.renew(one.device, [this, one, failed](const AdmissionOutcome& outcome) {
        const auto* admitted = std::get_if<Admitted>(&outcome);
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
      if (found && found->owner) continue;
      DeviceSummary summary{.id = one.device};
      summary.epoch = found ? std::max(found->epoch, one.epoch) : one.epoch;
      summary.reason = "node_lost";
      otherwise({summary});
    }
  }
  void tell_lost(std::vector<LostConnection> lost) override {
    for (const LostConnection& one : lost) {
      if (live(one.device.str())) continue;
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
    const std::int64_t now = clock_.unix_ms();
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

 private:
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
  Ownership ownership{
      {.takeovers_per_minute = 10'000}, *this, [](const DeviceId& id) { return std::make_unique<DeviceState>(id, 0); }};

 private:
  RegistryDesk registry_{worker, clock_, log_, {}};
  AdmissionDesk admission_{worker, registry_, clock_, {.auto_register = true}};
  FleetFollower follower_;
  NodeReaper reaper_;
};

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed), store_(sqlite::make_sqlite_store(":memory:", clock_)) {
    EXPECT_TRUE(store_->open());
    for (Node& node : nodes_) {
      node.durable = random_() % 2 == 0;
      begin(node);
    }
  }

  void step() {
    Node& node = nodes_[random_() % nodes_.size()];
    if (!node.boot) {
      if (random_() % 12 == 0) begin(node);
      return;
    }
    Boot& boot = *node.boot;
    switch (random_() % 26) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4: boot.admit(any_device()); break;
      case 5:
      case 6:
      case 7:
      case 8:
      case 9: boot.claim(random_); break;
      case 10:
      case 11:
      case 12: boot.disconnect(random_, random_() % 3 == 0); break;
      case 13:
      case 14:
      case 15: boot.flush(); break;
      case 16:
      case 17: pass(milliseconds_between(5, 500)); break;
      case 18: pass(milliseconds_between(500, 5'000)); break;
      case 19: boot.faults->down = !boot.faults->down && random_() % 2 == 0; break;
      case 20: fail_soon(boot); break;
      case 21: boot.ownership.tell_ends(1); break;
      case 22: node.feed->lose_unread(random_() % 3); break;
      case 23:
        if (random_() % 4 == 0) node.boot.reset();
        break;  // it dies
      case 24: boot.end_fenced(); break;
      case 25:  // cut off, for long enough to be given up
        if (random_() % 8 == 0) {
          boot.faults->down = true;
          pass(milliseconds_between(6'000, 15'000));
          boot.faults->down = false;
        }
        break;
      default: break;
    }
    if (node.boot) node.boot->settle();
    replay();
  }

  // With nothing broken and all said: the log says of every device what is so.
  void check_at_rest() {
    for (Node& node : nodes_) {
      if (!node.boot) begin(node);
      node.boot->faults->down = false;
      node.boot->faults->fail_at.reset();
      while (node.boot->ownership.tell_ends(100) > 0) {
      }
      node.boot->flush();
    }
    for (int round = 0; round < 13; ++round) {
      pass(std::chrono::seconds(10));
      for (Node& node : nodes_) {
        node.boot->end_fenced();
        node.boot->flush();
      }
    }
    replay();
    for (const std::string& id : k_devices) {
      const auto found = truth_.replayed.find(id);
      const std::uint64_t epoch = found == truth_.replayed.end() ? 0 : found->second.first;
      const bool online = found != truth_.replayed.end() && found->second.second;
      int owners = 0;
      for (const Node& node : nodes_) {
        const auto live = node.boot->live(id);
        if (!live) continue;
        EXPECT_EQ(epoch, live->value) << id << " is connected to " << node.name << ", and the log does not say so";
        ++owners;
      }
      EXPECT_EQ(owners, online ? 1 : 0) << id << " in epoch " << epoch;
    }
    const auto rows = store_->presence_rows({}, 100);
    ASSERT_TRUE(rows);
    EXPECT_EQ(rows->size(), truth_.replayed.size());
    for (const PresenceRow& row : *rows) {
      EXPECT_EQ(std::pair(row.epoch.value, row.online), truth_.replayed.at(row.device.str())) << row.device.str();
    }
  }
  const Truth& truth() const { return truth_; }

 private:
  struct Node {
    std::string name;
    bool durable = false;
    int boots = 0;
    Logged logged{};
    std::unique_ptr<JournalFeed> feed = std::make_unique<JournalFeed>();
    std::unique_ptr<Boot> boot{};
  };
  static inline const std::vector<std::string> k_devices{"a", "b", "c", "d", "e"};

  const std::string& any_device() { return k_devices[random_() % k_devices.size()]; }
  std::chrono::milliseconds milliseconds_between(std::int64_t low, std::int64_t high) {
    return std::chrono::milliseconds(std::uniform_int_distribution(low, high)(random_));
  }
  void fail_soon(Boot& boot) {
    if (random_() % 2 == 0) return;
    boot.faults->error = random_() % 2 == 0 ? Errc::unavailable : Errc::internal;
    boot.faults->fail_at = boot.faults->calls + random_() % 20;
  }

  void begin(Node& node) {
    if (node.boots++ > 0 && node.durable) {
      // The lane's place was saved a while ago.
      const std::uint64_t through = node.feed->through.value;
      *node.feed = node.feed->from({1 + through - random_() % (through + 1) / 4});
    } else {
      node.logged.clear();
      node.feed = std::make_unique<JournalFeed>();
    }
    node.boot = std::make_unique<Boot>(node.name, node.name + "." + std::to_string(node.boots), store_, *node.feed,
                                       node.logged, clock_, truth_);
    node.boot->start();
    node.boot->settle();
  }
  void pass(std::chrono::milliseconds time) {
    while (time.count() > 0) {
      const auto step = std::min(time, std::chrono::milliseconds(1'000));
      clock_.passed += step;
      time -= step;
      for (Node& node : nodes_) {
        if (!node.boot) continue;
        node.boot->ownership.expire(clock_.now());
        node.boot->settle();
      }
    }
  }

  // What has been added to the log since: each entry must follow from those before it, and
  // must have happened.
  void replay() {
    const auto events = store_->presence_log(nullptr, truth_.number, 100'000);
    ASSERT_TRUE(events);
    for (const PresenceEvent& event : *events) {
      const std::string& id = event.device.str();
      const std::uint64_t epoch = event.epoch.value;
      const std::string what = id + (event.online ? " online " : " offline ") + std::to_string(epoch);
      EXPECT_EQ(event.number, ++truth_.number);
      auto& [known_epoch, known_online] = truth_.replayed[id];
      if (epoch == known_epoch) {
        EXPECT_TRUE(known_online && !event.online) << what;
      } else {
        EXPECT_GT(epoch, known_epoch) << what;
      }
      known_epoch = epoch;
      known_online = event.online;
      EXPECT_TRUE(truth_.said.contains({id, epoch, true})) << what << ": it never was";
      if (event.online) continue;
      for (const Node& node : nodes_) {
        if (!node.boot || node.boot->live(id) != event.epoch) continue;
        // Only peers say so of a node that they cannot see.
        EXPECT_TRUE(event.reason == "node_lost" && event.boot_id == node.boot->boot_id())
            << what << ": it is connected";
      }
      if (event.reason == "node_lost") ++truth_.reaped;
    }
  }

  std::mt19937_64 random_;
  test::HandClock clock_;
  std::shared_ptr<DeviceStore> store_;
  Truth truth_;
  std::array<Node, 3> nodes_{Node{.name = "node-1"}, Node{.name = "node-2"}, Node{.name = "node-3"}};
};

// FIELDGATE_SEED tells one story again.
std::vector<std::uint64_t> seeds() {
  if (const char* given = std::getenv("FIELDGATE_SEED")) return {std::strtoull(given, nullptr, 10)};
  return {1, 2, 3, 4, std::random_device()()};
}

// Each seed is its own story; the last one is new with every run.
TEST(PresenceProperty, TheLogReplayedGivesTheTruthAndEpochsOnlyRise) {
  constexpr int k_steps = 5'000;
  constexpr int k_between_rests = 250;
  for (const std::uint64_t seed : seeds()) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    for (int step = 1; step <= k_steps && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      world.step();
      if (step % k_between_rests == 0) world.check_at_rest();
    }
    const Truth& truth = world.truth();
    std::cout << "seed " << seed << ": " << truth.number << " events in the log, " << truth.reaped << " lost, "
              << truth.reasserted << " of them gone on, " << truth.taken_over << " taken over by another node"
              << std::endl;
    const std::string quiet = "too quiet a story to prove anything";
    EXPECT_GT(truth.number, 300U) << quiet;
    EXPECT_GT(truth.reaped, 10U) << quiet;
    EXPECT_GT(truth.reasserted, 0U) << quiet;
    EXPECT_GT(truth.taken_over, 5U) << quiet;
  }
}

}  // namespace
}  // namespace fieldgate::control
