// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/node_reaper.h"

#include "gateway/core/device_state.h"
#include "gateway/ports/owners.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace fieldgate::control {
namespace {

// A node that is dead and had nothing left is looked at again after so long.
constexpr std::chrono::seconds k_empty_for{60};

}  // namespace

std::vector<TimelineEntry> ends_of(const std::vector<PresenceEvent>& events) {
  std::vector<TimelineEntry> out;
  for (const PresenceEvent& event : events) {
    TimelineEntry entry{.device = event.device, .kind = TimelineKind::disconnected, .unix_ms = event.unix_ms};
    entry.epoch = event.epoch;
    entry.fields = {{"reason", event.reason}};
    out.push_back(std::move(entry));
  }
  return out;
}

NodeReaper::NodeReaper(StoreWorker& worker, NodeRow self, const Clock& clock, Log& log, ReaperLimits limits,
                       MembershipProbe& probe)
    : worker_(worker), self_(std::move(self)), clock_(clock), log_(log), limits_(limits), probe_(probe) {}

void NodeReaper::start(const ControlLinks& links, LabelsOf labels) {
  links_ = links;
  labels_ = std::move(labels);
  access_since_ = ticked_ = clock_.now();
  worker_.on_available([this] { access_since_ = clock_.now(); });
  worker_.after(limits_.lease / 3, [this] { tick_again(); });
}

// Between two transactions, so that nothing is between its commit and its being told.
void NodeReaper::retire() {
  if (!worker_.post([this] { retired_.store(true); })) retired_.store(true);
}

void NodeReaper::tick_again() {
  tick();
  worker_.after(limits_.lease / 3, [this] { tick_again(); });
}

void NodeReaper::tick() {
  const Monotonic now = clock_.now();
  // Stopped or asleep meanwhile: so may the others have been.
  if (std::exchange(ticked_, now) + limits_.lease < now) access_since_ = now;
  if (retired() || looking_ || !worker_.available()) return;
  auto nodes = std::make_shared<std::vector<NodeRow>>();
  looking_ = worker_.submit(
      [this, nodes](DeviceStore& store) -> Result<void> {
        if (auto forgotten = store.forget_nodes(limits_.forget_after); !forgotten) return forgotten.error();
        auto found = store.nodes();
        if (!found) return found.error();
        *nodes = *std::move(found);
        return {};
      },
      [this, nodes](const Result<void>& outcome) {
        looking_ = false;
        if (outcome && !retired()) look(*nodes);
      });
}

void NodeReaper::look(const std::vector<NodeRow>& nodes) {
  const Monotonic now = clock_.now();
  const auto self = std::ranges::find(nodes, self_.name, &NodeRow::name);
  if (self == nodes.end() || !self->live) access_since_ = now;
  const bool may_end = now - access_since_ >= 2 * limits_.lease;
  for (const NodeRow& node : nodes) {
    if (node.live || node.name == self_.name) {
      emptied_.erase(node.name);
      continue;
    }
    const auto emptied = emptied_.find(node.name);
    if (!may_end || (emptied != emptied_.end() && now - emptied->second < k_empty_for)) continue;
    looking_ = true;
    return reap(node.name, 0);  // one after the other
  }
}

void NodeReaper::reap(const std::string& node, std::size_t ended) {
  auto portion = std::make_shared<Portion>();
  looking_ = worker_.submit(
      [this, node, portion](DeviceStore& store) {
        *portion = {};
        if (retired()) return Result<void>();
        return end_some(store, node, *portion);
      },
      [this, node, portion, ended](const Result<void>& outcome) {
        looking_ = false;
        if (!outcome || retired()) return;
        tell(*portion);
        probe_.connections_lost.add(portion->events.size());
        const std::size_t all = ended + portion->events.size();
        if (portion->events.size() == k_portion) return reap(node, all);
        if (all > 0) log_.warn("presence_ended_of_a_dead_node", {{"node", node}, {"devices", all}});
        if (emptied_.insert_or_assign(node, clock_.now()).second && all > 0) probe_.dead_nodes.add();
        tick();  // there may be another one
      });
}

Result<void> NodeReaper::end_some(DeviceStore& store, const std::string& node, Portion& portion) const {
  auto events = store.end_dead_node(node, clock_.unix_ms(), k_portion);
  if (!events) return events.error();
  portion.events = *std::move(events);
  if (portion.events.empty()) return {};
  std::vector<DeviceId> devices;
  for (const PresenceEvent& event : portion.events) devices.push_back(event.device);
  auto rows = store.presence_of(devices);
  if (!rows) return rows.error();
  portion.rows = *std::move(rows);
  return store.add_timeline(ends_of(portion.events), limits_.timeline_entries);
}

void NodeReaper::tell(const Portion& portion) const {
  if (links_.owners == nullptr || portion.events.empty()) return;
  std::unordered_map<std::string, const PresenceRow*> rows;
  for (const PresenceRow& row : portion.rows) rows.emplace(row.device.str(), &row);
  std::vector<LostConnection> lost;
  for (const PresenceEvent& event : portion.events) {
    LostConnection one{event.device, event.epoch, event.node, event.boot_id, event.unix_ms, {}};
    const auto row = rows.find(event.device.str());
    const Labels none;
    one.labels = overlaid(row == rows.end() ? none : row->second->labels, labels_ ? labels_(event.device) : none);
    lost.push_back(std::move(one));
  }
  links_.owners->tell_lost(std::move(lost));
}

}  // namespace fieldgate::control
