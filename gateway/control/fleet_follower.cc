// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/fleet_follower.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

namespace fieldgate::control {

using std::chrono::milliseconds;

FleetFollower::FleetFollower(StoreWorker& worker, NodeRow self, const Clock& clock, Log& log, FollowLimits limits,
                             MembershipProbe& probe)
    : worker_(worker), self_(std::move(self)), clock_(clock), log_(log), limits_(limits), probe_(probe) {}

Result<void> FleetFollower::start(const ControlLinks& links, std::function<void()> set_back) {
  links_ = links;
  set_back_ = std::move(set_back);
  sweep_began_ = clock_.now();
  Look look;
  auto found = worker_.run_now([&](DeviceStore& store) {
    look = {};
    return read_end(store, look);
  });
  if (!found && found.error().code != Errc::unavailable) return found;
  if (found) {
    last_ = std::move(look.events);
    known_ = true;
  }
  if (links_.peers != nullptr) {
    links_.peers->serve(k_peer_presence_look, [this](const PeerMessage&, const Peers::Answer&) { this->look(); });
  }
  worker_.after(limits_.poll, [this] { poll_again(); });
  worker_.after(limits_.sweep_step, [this] { sweep_again(); });
  return {};
}

void FleetFollower::look() {
  if (called_.exchange(true, std::memory_order_acq_rel)) return;
  worker_.post([this] {
    called_.store(false, std::memory_order_release);
    poll();
  });
}

// --- the log

void FleetFollower::poll_again() {
  poll();
  worker_.after(limits_.poll, [this] { poll_again(); });
}

void FleetFollower::poll() {
  if (polling_ || !worker_.available()) return;
  auto look = std::make_shared<Look>();
  polling_ = worker_.submit(
      [this, look](DeviceStore& store) {
        *look = {};
        return read(store, *look);
      },
      [this, look](const Result<void>& outcome) {
        polling_ = false;
        if (outcome) take(*look);
      });
}

Result<void> FleetFollower::read(DeviceStore& store, Look& look) const {
  auto nodes = store.nodes();
  if (!nodes) return nodes.error();
  look.nodes = *std::move(nodes);
  if (!known_) return read_end(store, look);
  // The last one once more: if it is not there as it was, this is not the log that was read.
  const std::uint64_t from = last_.empty() ? 0 : last_.front().number - 1;
  auto events = store.presence_log(nullptr, from, k_page + 1);
  if (!events) return events.error();
  look.more = events->size() > k_page;
  if (!last_.empty()) {
    const PresenceEvent& known = last_.front();
    const auto is_known = [&known](const PresenceEvent& event) {
      return event.number == known.number && event.device == known.device && event.epoch == known.epoch &&
             event.online == known.online;
    };
    if (events->empty() || !is_known(events->front())) return read_end(store, look);
    events->erase(events->begin());
  } else if (!events->empty() && events->front().number != 1) {
    return read_end(store, look);
  }
  look.events = *std::move(events);
  std::set<std::string> seen;
  std::vector<DeviceId> devices;
  for (const PresenceEvent& event : look.events) {
    if (!is_own(event.node, event.boot_id) && seen.insert(event.device.str()).second) devices.push_back(event.device);
  }
  auto rows = store.presence_of(devices);
  if (!rows) return rows.error();
  look.rows = *std::move(rows);
  return {};
}

// Where the log ends, whatever is in it.
Result<void> FleetFollower::read_end(DeviceStore& store, Look& look) const {
  look.goes_on = false;
  look.more = false;
  const auto number = store.presence_number();
  if (!number) return number.error();
  if (*number == 0) return {};
  auto events = store.presence_log(nullptr, *number - 1, 1);
  if (!events) return events.error();
  look.events = *std::move(events);
  return {};
}

void FleetFollower::take(const Look& look) {
  if (look.goes_on) {
    // In this order: whoever ends here for it is no news any more then.
    tell(look.rows);
    take(look.events);
    if (!look.events.empty()) last_ = {look.events.back()};
  } else {
    if (known_) {
      log_.warn("presence_log_does_not_go_on",
                {{"from", last_.empty() ? 0 : last_.front().number},
                 {"to", look.events.empty() ? 0 : look.events.front().number},
                 {"hint", "the store was restored or trimmed: what is connected here is compared with it"}});
    }
    last_ = look.events;
    known_ = true;
    examine_next_ = true;
    if (!sweeping_) swept_.clear();
    sweep_began_ = clock_.now() - limits_.sweep_every;
    if (set_back_) set_back_();
  }
  probe_.looked.set(clock_.now());
  for (ControlSink* sink : links_.sinks) sink->fleet_known({clock_.unix_ms(), look.nodes});
  if (!failed_.empty()) renew(std::exchange(failed_, {}));
  if (look.more) poll();
}

void FleetFollower::take(const std::vector<PresenceEvent>& events) {
  if (links_.owners == nullptr) return;
  std::vector<Standing> lost;
  std::map<std::string, std::vector<Standing>> let_in;  // by node
  for (const PresenceEvent& event : events) {
    if (is_own(event.node, event.boot_id)) {
      // This process has not said the one, nor has it to be told of its own kicks: there is
      // no connection of that epoch any more.
      if (event.online) continue;
      if (event.reason == to_string(EndReason::node_lost)) lost.push_back({event.device, event.epoch});
      if (event.reason == to_string(EndReason::kicked)) {
        links_.owners->end({event.device, event.epoch}, EndReason::kicked);
      }
    } else if (event.node != self_.name) {  // whether it is still there or has left it again
      let_in[event.node].push_back({event.device, event.epoch});
    }
  }
  for (auto& [node, devices] : let_in) links_.owners->superseded(std::move(devices), node);
  renew(std::move(lost));
}

void FleetFollower::renew(std::vector<Standing> lost) {
  if (lost.empty()) return;
  log_.warn("presence_ended_by_peers", {{"devices", lost.size()}, {"effect", "new epochs for those that go on"}});
  links_.owners->renew(std::move(lost), [this](Standing failed) {
    worker_.post([this, failed = std::move(failed)] { failed_.push_back(failed); });
  });
}

void FleetFollower::tell(const std::vector<PresenceRow>& rows) {
  if (rows.empty()) return;
  for (ControlSink* sink : links_.sinks) sink->presence_known(rows);
}

// --- the table

void FleetFollower::sweep_again() {
  if (worker_.available() && !sweeping_) sweep();
  worker_.after(limits_.sweep_step, [this] { sweep_again(); });
}

void FleetFollower::sweep() {
  if (swept_.empty()) {
    if (clock_.now() - sweep_began_ < limits_.sweep_every) return;
    sweep_began_ = clock_.now();
    examine_ = std::exchange(examine_next_, false);
  }
  auto rows = std::make_shared<std::vector<PresenceRow>>();
  sweeping_ = worker_.submit(
      [this, rows](DeviceStore& store) -> Result<void> {
        auto page = store.presence_rows(swept_, k_page);
        if (!page) return page.error();
        *rows = *std::move(page);
        return {};
      },
      [this, rows](const Result<void>& outcome) {
        sweeping_ = false;
        if (outcome) swept(*rows);
      });
}

void FleetFollower::swept(const std::vector<PresenceRow>& rows) {
  swept_ = rows.size() < k_page ? std::string() : rows.back().device.str();
  std::vector<PresenceRow> others;
  std::ranges::copy_if(rows, std::back_inserter(others),
                       [this](const PresenceRow& row) { return !is_own(row.node, row.boot_id); });
  tell(others);
  if (examine_) examine(rows);
}

// What the events would have told that nobody read.
void FleetFollower::examine(const std::vector<PresenceRow>& rows) {
  if (links_.owners == nullptr) return;
  std::vector<Standing> lost;
  std::map<std::string, std::vector<Standing>> let_in;
  for (const PresenceRow& row : rows) {
    const Standing standing{row.device, row.epoch};
    if (is_own(row.node, row.boot_id)) {
      if (!row.online && row.reason == to_string(EndReason::node_lost)) lost.push_back(standing);
    } else if (row.node != self_.name) {
      let_in[row.node].push_back(standing);
    }
  }
  for (auto& [node, devices] : let_in) links_.owners->superseded(std::move(devices), node);
  renew(std::move(lost));
}

}  // namespace fieldgate::control
