// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/change_listener.h"

#include "gateway/control/random_id.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

namespace fieldgate::control {
namespace {

// A command as it was when it had that many steps. What it has now and had not then is
// left out, as far as its steps tell.
std::shared_ptr<const CommandEntry> as_of(const CommandEntry& entry, std::size_t steps) {
  auto then = std::make_shared<CommandEntry>(entry);
  if (steps >= entry.steps.size()) return then;
  then->steps.resize(steps);
  then->state = then->steps.back().state;
  const auto sent = std::ranges::count(then->steps, CommandState::sent, &CommandStep::state);
  then->sends = std::min(then->sends, static_cast<std::uint32_t>(sent));
  if (sent == 0) then->first_sent_unix_ms = 0;
  if (!is_final(then->state)) {
    then->result_text.clear();
    then->result_payload.clear();
  }
  return then;
}

}  // namespace

struct ChangeListener::Read {
  std::vector<CommandChange> commands;
  std::set<DeviceId> twins;
  std::size_t count = 0;  // of what was told
  // Set anew by each run of the job.
  std::vector<CommandEntry> entries;
  std::vector<Twin> documents;
};

ChangeListener::ChangeListener(StoreWorker& worker, std::string node, const Clock& clock, Log& log)
    : worker_(worker), node_(std::move(node)), clock_(clock), log_(log) {}

void ChangeListener::start(const ControlLinks& links) {
  links_ = links;
  if (links_.peers != nullptr) {
    links_.peers->serve(k_peer_changes_told,
                        [this](PeerMessage message, const Peers::Answer&) { arrived(std::move(message)); });
  }
  worker_.after(k_tick, [this] { tick(); });
}

void ChangeListener::tick() {
  worker_.after(k_tick, [this] { tick(); });
  ask_due();
}

// --- what is wanted

void ChangeListener::watch(ChangeWatchPtr what) {
  worker_.post([this, what = std::move(what)]() mutable { set_watch(std::move(what)); });
}

void ChangeListener::set_watch(ChangeWatchPtr what) {
  const bool wants_any = what != nullptr && !(what->commands.none() && what->twins.none());
  const ChangeWatchPtr before = std::exchange(watch_, wants_any ? std::move(what) : nullptr);
  if ((before == nullptr) != (watch_ == nullptr)) {
    tag_ = watch_ == nullptr ? std::string() : random_id();
    peers_.clear();
    commands_.clear();
    twins_.clear();
    const MutexLock lock(mutex_);
    wanted_tag_ = tag_;
    words_.clear();
  }
  if (watch_ == nullptr) return;
  if (before == nullptr) {
    if (live_) meet(true);
  } else if (before->commands.none() != watch_->commands.none() || before->twins.none() != watch_->twins.none()) {
    for (auto& [node, peer] : peers_) peer.ask_at = clock_.now();
    ask_due();
  }
}

// --- who is there

void ChangeListener::fleet_known(const FleetView& fleet) {
  const bool first = !live_;
  live_.emplace();
  for (const NodeRow& node : fleet.nodes) {
    if (node.live && node.name != node_) live_->emplace(node.name, node.boot_id);
  }
  if (watch_ != nullptr) meet(first);
}

// `begins`: these are the nodes with which the watch begins. What was written before is not
// its affair; of a node that comes later, all is.
void ChangeListener::meet(bool begins) {
  for (auto at = peers_.begin(); at != peers_.end();) {
    const auto live = live_->find(at->first);
    const bool is_over = live == live_->end() || live->second != at->second.boot_id;
    if (is_over) missed(std::nullopt);  // what it wrote last, it may not have told
    at = is_over ? peers_.erase(at) : std::next(at);
  }
  for (const auto& [node, boot_id] : *live_) {
    const auto [at, fresh] = peers_.try_emplace(node, Peer{boot_id});
    if (!fresh) continue;
    at->second.ask_at = clock_.now();
    if (!begins) at->second.through = 0;
  }
  ask_due();
}

void ChangeListener::ask_due() {
  for (auto& [node, peer] : peers_) {
    if (!peer.asking && clock_.now() >= peer.ask_at) ask(node, peer);
  }
}

void ChangeListener::ask(const std::string& node, Peer& peer) {
  peer.ask_at = clock_.now() + k_again;
  if (links_.peers == nullptr) return unheard(node, peer, "no MQTT lane carries messages between nodes");
  peer.asking = true;
  const WatchQuestion question{tag_, !watch_->commands.none(), !watch_->twins.none()};
  links_.peers->ask(node, k_peer_changes_watch, encode(question), k_patience,
                    [this, node, tag = tag_](Result<std::string> answer) {
                      worker_.post([this, node, tag, answer = std::move(answer)] { answered(node, tag, answer); });
                    });
}

void ChangeListener::answered(const std::string& node, const std::string& tag, const Result<std::string>& answer) {
  const auto at = peers_.find(node);
  if (tag != tag_ || at == peers_.end()) return;
  Peer& peer = at->second;
  peer.asking = false;
  if (!answer) return unheard(node, peer, answer.error().detail);
  const auto says = decode_watch_answer(*answer);
  if (!says) return unheard(node, peer, "its answer cannot be read");
  if (says->boot_id != peer.boot_id) return;  // it has begun anew, as the store is about to say
  if (!std::exchange(peer.heard, true)) log_.info("changes_heard_again", {{"node", node}});
  advance(peer, says->after, says->through);
}

void ChangeListener::unheard(const std::string& node, Peer& peer, const std::string& why) {
  if (std::exchange(peer.heard, false)) {
    log_.warn(
        "changes_not_heard",
        {{"node", node}, {"error", why}, {"effect", "live streams here may miss commands and twins that it writes"}});
  }
  missed(std::nullopt);
}

void ChangeListener::advance(Peer& peer, std::uint64_t after, std::uint64_t through) {
  const std::uint64_t known = peer.through.value_or(after);
  if (after > known) missed(after - known);
  peer.through = std::max(known, through);
}

// --- words

void ChangeListener::arrived(PeerMessage message) {
  {
    const MutexLock lock(mutex_);
    if (wanted_tag_.empty() || words_.size() >= k_words_max) return;
  }
  auto word = decode_change_word(message.body);
  if (!word) return;
  bool first = false;
  {
    const MutexLock lock(mutex_);
    if (word->tag != wanted_tag_ || words_.size() >= k_words_max) return;
    first = words_.empty();
    words_.push_back({std::move(message.from), std::move(message.boot_id), *std::move(word)});
  }
  if (first) worker_.post([this] { take_words(); });
}

void ChangeListener::take_words() {
  std::vector<Arrived> words;
  {
    const MutexLock lock(mutex_);
    words.swap(words_);
  }
  if (watch_ == nullptr) return;
  for (Arrived& each : words) take(std::move(each));
  read();
}

void ChangeListener::take(Arrived arrived) {
  const auto at = peers_.find(arrived.node);
  if (at == peers_.end() || at->second.boot_id != arrived.boot_id) return;
  Peer& peer = at->second;
  ChangeWord& word = arrived.word;
  if (peer.through && word.through <= *peer.through) return;  // it came twice
  advance(peer, word.after, word.through);
  std::uint64_t lost = word.untold;
  const auto keep = [&](auto& to, auto& item) {
    if (commands_.size() + twins_.size() < k_unread_max) {
      to.push_back(std::move(item));
    } else {
      ++lost;
    }
  };
  for (CommandChange& change : word.commands) {
    if (watch_->commands.has(change.device)) keep(commands_, change);
  }
  for (DeviceId& device : word.twins) {
    if (watch_->twins.has(device)) keep(twins_, device);
  }
  if (lost > 0) missed(lost);
}

// --- what they were about

void ChangeListener::read() {
  if (reading_ || (commands_.empty() && twins_.empty())) return;
  auto job = std::make_shared<Read>();
  for (; !commands_.empty() && job->commands.size() < k_commands_per_job; ++job->count) {
    job->commands.push_back(std::move(commands_.front()));
    commands_.pop_front();
  }
  for (; !twins_.empty() && job->twins.size() < k_twins_per_job; ++job->count) {
    job->twins.insert(std::move(twins_.front()));
    twins_.pop_front();
  }
  reading_ = worker_.submit([job](DeviceStore& store) { return read_in(store, *job); },
                            [this, job, tag = tag_](const Result<void>& outcome) {
                              if (tag == tag_) outcome ? show(*job) : missed(job->count);
                              worker_.after(k_pause, [this] {
                                reading_ = false;
                                read();
                              });
                            });
  if (reading_) return;
  missed(job->count);
  worker_.after(k_pause, [this] { read(); });
}

Result<void> ChangeListener::read_in(DeviceStore& store, Read& job) {
  job.documents.clear();
  std::set<std::string> ids;
  for (const CommandChange& change : job.commands) ids.insert(change.id);
  auto entries = store.commands_by_id(std::vector<std::string>(ids.begin(), ids.end()));
  if (!entries) return entries.error();
  job.entries = *std::move(entries);
  for (const DeviceId& device : job.twins) {
    auto twin = store.twin(device);
    if (!twin) return twin.error();
    if (twin->has_value()) job.documents.push_back(std::move(**twin));
  }
  return {};
}

// Each in the order in which it was told; what is not in the store any more has gone.
void ChangeListener::show(const Read& job) {
  std::unordered_map<std::string_view, const CommandEntry*> found;
  for (const CommandEntry& entry : job.entries) found.emplace(entry.id, &entry);
  for (const CommandChange& change : job.commands) {
    const auto at = found.find(change.id);
    if (at == found.end() || at->second->device != change.device) continue;
    const std::size_t last = std::min(change.last, at->second->steps.size());
    for (std::size_t step = change.first; step <= last; ++step) {
      const auto entry = as_of(*at->second, step);
      for (ControlSink* sink : links_.sinks) sink->command_seen(entry);
    }
  }
  for (const Twin& twin : job.documents) {
    const auto shared = std::make_shared<const Twin>(twin);
    for (ControlSink* sink : links_.sinks) sink->twin_seen(shared);
  }
}

void ChangeListener::missed(std::optional<std::uint64_t> count) {
  for (ControlSink* sink : links_.sinks) sink->changes_missed(count);
}

}  // namespace fieldgate::control
