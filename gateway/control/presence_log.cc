// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/presence_log.h"

#include "gateway/control/node_reaper.h"
#include "gateway/core/timeline.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

namespace fieldgate::control {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_tick{1'000};
constexpr milliseconds k_tidy_every{60'000};

bool newer(Epoch epoch, bool online, Epoch than, bool than_online) noexcept {
  return epoch != than ? epoch > than : than_online && !online;
}

}  // namespace

PresenceLog::PresenceLog(StoreWorker& worker, NodeRow node, const Clock& clock, Log& log, PresenceLimits limits,
                         MembershipProbe& probe)
    : worker_(worker), node_(std::move(node)), clock_(clock), log_(log), limits_(limits), probe_(probe) {}

Result<void> PresenceLog::start(ControlLinks links) {
  links_ = std::move(links);
  flushed_ = started_ = clock_.now();
  std::optional<Result<void>> outcome;
  begin_telling([&outcome](const Result<void>& told) { outcome = told; });
  while (!outcome) worker_.run_once();
  if (!*outcome && outcome->error().code != Errc::unavailable) return *outcome;
  worker_.on_available([this] {
    renew();
    if (!settled_) begin_telling([](const Result<void>&) {});
    if (again_) say_again();
  });
  worker_.after(k_tick, [this] { tick(); });
  worker_.after(limits_.lease / 3, [this] { renew_again(); });
  worker_.after(k_tidy_every, [this] { tidy_again(); });
  return {};
}

void PresenceLog::begin_telling(Told told) {
  run([this](DeviceStore& store) { return store.lease(node_, limits_.lease); },
      [this, told](const Result<void>& outcome) {
        leased(outcome);
        outcome ? tell_rows({}, told) : told(outcome);
      });
}

// --- what earlier boots left

// Step by step, so that others get their turn.
void PresenceLog::end_earlier() {
  auto ended = std::make_shared<std::size_t>(0);
  run(
      [this, ended](DeviceStore& store) -> Result<void> {
        auto events = store.end_earlier_boots(node_.name, node_.boot_id, clock_.unix_ms(), k_page);
        if (!events) return events.error();
        *ended = events->size();
        return store.add_timeline(ends_of(*events), limits_.timeline_entries);
      },
      [this, ended](const Result<void>& outcome) {
        if (!outcome) {
          replayed_ = false;  // the next tick tries again
          return;
        }
        if (*ended > 0) log_.info("presence_ended_of_earlier_boots", {{"devices", *ended}});
        if (*ended == k_page) end_earlier();
      });
}

void PresenceLog::tell_rows(std::string after, Told told) {
  auto rows = std::make_shared<std::vector<PresenceRow>>();
  run(
      [after = std::move(after), rows](DeviceStore& store) -> Result<void> {
        auto page = store.presence_rows(after, k_page);
        if (!page) return page.error();
        *rows = *std::move(page);
        return {};
      },
      [this, rows, told](const Result<void>& outcome) {
        if (!outcome) return told(outcome);
        const bool last = rows->size() < k_page;
        const std::string next = last ? std::string() : rows->back().device.str();
        if (!rows->empty()) {
          for (ControlSink* sink : links_.sinks) sink->presence_known(*rows);
        }
        if (!last) return tell_rows(next, told);
        settled_ = true;
        told(outcome);
      });
}

// --- the log

Result<void> PresenceLog::apply_presence(DeviceStore& store, std::span<const PresenceEvent> events) {
  if (auto added = add(store, events, others_); !added) return added;
  for (const PresenceEvent& event : events) applied_.push_back({event.device.str(), event.epoch, event.online});
  return {};
}

void PresenceLog::begin() {
  idle_since_.reset();
  applied_.clear();
  others_ = {};
}

void PresenceLog::committed() {
  take_inbox();  // a shard speaks to the log first
  for (const Mark& mark : applied_) forget_told(mark.device, mark.epoch, mark.online);
  applied_.clear();
  tell_others(std::exchange(others_, {}));
}

void PresenceLog::forget_told(std::string_view device, Epoch epoch, bool online) {
  const auto found = untold_.find(std::string(device));
  if (found == untold_.end()) return;
  const Untold& untold = found->second;
  if (!newer(untold.epoch, untold.online, epoch, online)) untold_.erase(found);
}

// With other nodes: who had each device before it came here. Nobody changes that until the
// transaction ends, for presence is changed by one at a time.
Result<void> PresenceLog::add(DeviceStore& store, std::span<const PresenceEvent> events, Others& others) const {
  std::unordered_map<std::string, Epoch> come;
  std::vector<DeviceId> devices;
  for (const PresenceEvent& event : events) {
    if (!limits_.shared || !event.online) continue;
    Epoch& epoch = come[event.device.str()];
    if (epoch == Epoch{}) devices.push_back(event.device);
    epoch = std::max(epoch, event.epoch);
  }
  std::vector<PresenceRow> before;
  if (!devices.empty()) {
    auto rows = store.presence_of(devices);
    if (!rows) return rows.error();
    before = *std::move(rows);
  }
  for (const PresenceRow& row : before) {
    if (row.node == node_.name) continue;
    if (row.epoch > come[row.device.str()]) {
      others.newer.push_back(row);
    } else if (row.online) {
      others.losers.insert(row.node);
    }
  }
  const auto added = store.add_presence(events);
  if (!added) return added.error();
  return {};
}

void PresenceLog::tell_others(const Others& others) const {
  if (!others.newer.empty()) {
    for (ControlSink* sink : links_.sinks) sink->presence_known(others.newer);
  }
  for (const PresenceRow& row : others.newer) {
    if (links_.owners != nullptr) links_.owners->superseded({{row.device, row.epoch}}, row.node);
  }
  for (const std::string& node : others.losers) {
    if (links_.peers != nullptr) links_.peers->tell(node, k_peer_presence_look, {});
  }
}

void PresenceLog::missed() { again_ = true; }

void PresenceLog::idle() {
  if (!idle_since_) idle_since_ = clock_.now();
}

PresenceEvent PresenceLog::event_of(DeviceId device, const Untold& untold) const {
  return {std::move(device), untold.epoch, untold.online, node_.name, node_.boot_id, untold.unix_ms, untold.reason};
}

// The newest of every device that the store may not know. What the log still has of
// these comes to nothing then, but for what is newer.
void PresenceLog::say_again() {
  again_ = false;
  std::vector<PresenceEvent> events;
  for (const auto& [id, untold] : untold_) {
    auto device = DeviceId::parse(id);
    if (!device) continue;
    events.push_back(event_of(*std::move(device), untold));
    if (events.size() == k_page) say(std::exchange(events, {}), again_);
  }
  if (!events.empty()) say(std::move(events), again_);
}

void PresenceLog::say(std::vector<PresenceEvent> what, bool& again) {
  auto events = std::make_shared<std::vector<PresenceEvent>>(std::move(what));
  auto others = std::make_shared<Others>();
  run(
      [this, events, others](DeviceStore& store) {
        *others = {};
        return add(store, *events, *others);
      },
      [this, events, others, &again](const Result<void>& outcome) {
        if (!outcome) {
          again = true;
          return;
        }
        for (const PresenceEvent& event : *events) forget_told(event.device.str(), event.epoch, event.online);
        tell_others(*others);
      });
}

// --- everything anew

void PresenceLog::reconcile() {
  skipped_ = 0;
  unsaid_ = false;
  if (links_.owners == nullptr) return;
  links_.owners->list(
      [this](std::vector<DeviceSummary> some) { worker_.post([this, some = std::move(some)] { say_all(some); }); });
  if (!std::exchange(reconciling_, true)) compare_rows({});
}

void PresenceLog::say_all(const std::vector<DeviceSummary>& devices) {
  std::vector<PresenceEvent> events;
  for (const DeviceSummary& device : devices) {
    if (device.epoch == Epoch{}) continue;
    events.push_back(event_of(device.id, {device.epoch, device.online, device.since_unix_ms, device.reason}));
  }
  if (!events.empty()) say(std::move(events), unsaid_);
  say_profiles(devices);
}

void PresenceLog::compare_rows(const std::string& after) {
  auto rows = std::make_shared<std::vector<PresenceRow>>();
  run(
      [after, rows](DeviceStore& store) -> Result<void> {
        auto page = store.presence_rows(after, k_page);
        if (!page) return page.error();
        *rows = *std::move(page);
        return {};
      },
      [this, rows](const Result<void>& outcome) {
        if (!outcome) {
          unsaid_ = true;
          reconciling_ = false;
          return;
        }
        std::vector<Standing> believed;
        for (const PresenceRow& row : *rows) {
          const bool ours = row.online && row.node == node_.name && row.boot_id == node_.boot_id;
          if (ours) believed.push_back({row.device, row.epoch});
        }
        if (!believed.empty()) {
          links_.owners->compare(std::move(believed), [this](std::vector<DeviceSummary> otherwise) {
            worker_.post([this, otherwise = std::move(otherwise)] { say_all(otherwise); });
          });
        }
        if (rows->size() == k_page) return compare_rows(rows->back().device.str());
        reconciling_ = false;
      });
}

// --- what shards say

void PresenceLog::changed(std::vector<DeviceSummary> devices) {
  const std::size_t count = devices.size();
  {
    const MutexLock lock(mutex_);
    if (changed_.size() + count > 2 * limits_.devices_max) {
      dropped_ += count;
    } else {
      changed_.insert(changed_.end(), std::move_iterator(devices.begin()), std::move_iterator(devices.end()));
    }
  }
  call();
}

void PresenceLog::seen(std::vector<SeenUpdate> updates) {
  {
    const MutexLock lock(mutex_);
    if (seen_.size() + updates.size() > 2 * limits_.devices_max) return;  // the next time stamp is as good
    seen_.insert(seen_.end(), std::move_iterator(updates.begin()), std::move_iterator(updates.end()));
  }
  call();
}

void PresenceLog::call() {
  if (called_.exchange(true, std::memory_order_acq_rel)) return;
  worker_.post([this] { take_inbox(); });
}

void PresenceLog::take_inbox() {
  called_.store(false, std::memory_order_release);
  std::vector<DeviceSummary> changed;
  std::vector<SeenUpdate> seen;
  std::uint64_t dropped = 0;
  {
    const MutexLock lock(mutex_);
    changed.swap(changed_);
    seen.swap(seen_);
    dropped = std::exchange(dropped_, 0);
  }
  if (dropped > 0) log_.warn("presence_inbox_full", {{"dropped", dropped}});
  for (const DeviceSummary& device : changed) note(device);
  for (SeenUpdate& update : seen) stamp(std::move(update), false);
}

void PresenceLog::note(const DeviceSummary& device) {
  if (device.epoch.value == 0) return;
  stamp({device.id, device.epoch, device.last_seen_unix_ms, device.last_data_unix_ms}, !device.online);
  if (!device.online && device.reason.empty()) return;  // of an earlier process, and told by it
  const auto found = untold_.find(device.id.str());
  if (found == untold_.end()) {
    if (untold_.size() >= limits_.devices_max) {
      if (skipped_++ == 0)
        log_.warn("presence_untold_full", {{"devices", untold_.size()}, {"effect", "said anew later"}});
      return;
    }
  } else if (!newer(device.epoch, device.online, found->second.epoch, found->second.online)) {
    return;
  }
  untold_.insert_or_assign(device.id.str(), Untold{device.epoch, device.online, device.since_unix_ms, device.reason});
}

// --- time stamps

void PresenceLog::stamp(SeenUpdate update, bool soon) {
  const auto found = stamps_.find(update.id.str());
  if (found == stamps_.end()) {
    if (stamps_.size() >= limits_.devices_max) return;
    if (soon) leaving_.push_back(update.id);
    std::string key = update.id.str();
    stamps_.emplace(std::move(key), std::move(update));
    return;
  }
  SeenUpdate& known = found->second;
  if (update.epoch < known.epoch) return;
  if (soon) leaving_.push_back(update.id);
  known.epoch = update.epoch;
  known.last_seen_unix_ms = std::max(known.last_seen_unix_ms, update.last_seen_unix_ms);
  known.last_data_unix_ms = std::max(known.last_data_unix_ms, update.last_data_unix_ms);
}

void PresenceLog::tick() {
  const Monotonic now = clock_.now();
  const bool quiet = idle_since_ && now - *idle_since_ >= k_replay_quiet;
  if (!replayed_ && settled_ && worker_.available() && (quiet || now - started_ >= k_replay_max)) {
    replayed_ = true;
    end_earlier();
  }
  if (again_ && worker_.available()) say_again();
  const bool room = untold_.size() <= limits_.devices_max / 2;
  if ((skipped_ > 0 || unsaid_) && room && !reconciling_ && worker_.available()) reconcile();
  const bool all = clock_.now() - flushed_ >= limits_.flush_every;
  if (worker_.available() && writing_.empty()) flush(all);
  worker_.after(k_tick, [this] { tick(); });
}

void PresenceLog::flush(bool all) {
  if (all) {
    flushed_ = clock_.now();
    writing_.reserve(stamps_.size());
    for (auto& [id, update] : stamps_) writing_.push_back(std::move(update));
    stamps_.clear();
  } else {
    for (const DeviceId& id : leaving_) {
      auto found = stamps_.extract(id.str());
      if (!found.empty()) writing_.push_back(std::move(found.mapped()));
    }
  }
  leaving_.clear();
  write_stamps();
}

// A few at a time, one after the other: a whole fleet's in one transaction would hold up
// who waits at the door.
void PresenceLog::write_stamps() {
  if (writing_.empty()) return;
  const auto updates = take_stamps();
  run([updates](DeviceStore& store) { return store.set_seen(*updates); },
      [this, updates](const Result<void>& outcome) {
        if (outcome) return write_stamps();
        // Later, unless there are newer ones by then.
        for (SeenUpdate& update : *updates) stamp(std::move(update), true);
        for (SeenUpdate& update : std::exchange(writing_, {})) stamp(std::move(update), true);
      });
}

std::shared_ptr<std::vector<SeenUpdate>> PresenceLog::take_stamps() {
  const auto begin = writing_.end() - static_cast<std::ptrdiff_t>(std::min(k_stamps, writing_.size()));
  auto taken = std::make_shared<std::vector<SeenUpdate>>(std::move_iterator(begin), std::move_iterator(writing_.end()));
  writing_.erase(begin, writing_.end());
  return taken;
}

void PresenceLog::stop(milliseconds patience) {
  const auto hand_in = [this] {
    take_inbox();
    for (auto& [id, update] : stamps_) writing_.push_back(std::move(update));
    stamps_.clear();
    leaving_.clear();
    while (!writing_.empty()) {
      run([updates = take_stamps()](DeviceStore& store) { return store.set_seen(*updates); },
          [](const Result<void>&) {});
    }
  };
  worker_.run_between(hand_in, patience);
}

// --- housekeeping

void PresenceLog::renew() {
  run([this](DeviceStore& store) { return store.lease(node_, limits_.lease); },
      [this](const Result<void>& outcome) { leased(outcome); });
}

void PresenceLog::leased(const Result<void>& outcome) {
  if (!outcome) return probe_.lease_failures.add();
  probe_.leases.add();
  probe_.leased.set(clock_.now());
}

void PresenceLog::renew_again() {
  worker_.available() ? renew() : probe_.lease_failures.add();
  worker_.after(limits_.lease / 3, [this] { renew_again(); });
}

void PresenceLog::tidy_again() {
  if (worker_.available()) {
    // The log may have brought more of earlier boots meanwhile.
    if (replayed_) end_earlier();
    trim();
  }
  worker_.after(k_tidy_every, [this] { tidy_again(); });
}

void PresenceLog::trim() {
  auto trimmed = std::make_shared<std::size_t>(0);
  run(
      [this, trimmed](DeviceStore& store) -> Result<void> {
        auto count = store.trim_presence(limits_.events_max, k_page);
        if (!count) return count.error();
        *trimmed = *count;
        return {};
      },
      [this, trimmed](const Result<void>& outcome) {
        if (outcome && *trimmed == k_page) trim();
      });
}

void PresenceLog::run(StoreWorker::Job job, StoreWorker::Done done) {
  const StoreWorker::Done again = done;
  if (!worker_.submit(std::move(job), std::move(done))) {
    again(make_error(Errc::unavailable, "too much waits for the store: try again later"));
  }
}

}  // namespace fieldgate::control
