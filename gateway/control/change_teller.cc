// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/change_teller.h"

#include <algorithm>
#include <utility>

namespace fieldgate::control {
namespace {

// Later words, and the next answer, say that it did not come.
constexpr std::chrono::seconds k_expiry{10};
// Of one word: what is around ids, and all that is in it.
constexpr std::size_t k_around_bytes = 24;
constexpr std::size_t k_word_bytes = k_peer_body_bytes_max - 1'024;

}  // namespace

ChangeTeller::ChangeTeller(StoreWorker& worker, std::string boot_id, const Clock& clock)
    : worker_(worker), boot_id_(std::move(boot_id)), clock_(clock) {}

void ChangeTeller::start(const ControlLinks& links) {
  peers_ = links.peers;
  if (peers_ == nullptr) return;
  peers_->serve(k_peer_changes_watch, [this](const PeerMessage& message, const Peers::Answer& answer) {
    if (!answer) return;
    auto question = decode_watch_question(message.body);
    if (!question) return answer(make_error(Errc::malformed, "that does not say what is to be watched"));
    worker_.post([this, node = message.from, question = *std::move(question), answer]() mutable {
      asked(node, std::move(question), answer);
    });
  });
}

// What was written before goes out before the answer.
void ChangeTeller::asked(const std::string& node, WatchQuestion question, const Peers::Answer& answer) {
  flush();
  const auto at = watchers_.find(node);
  if (at == watchers_.end() && watchers_.size() >= k_watchers_max) {
    return answer(make_error(Errc::full, "as many nodes watch this one as may"));
  }
  const bool goes_on = at != watchers_.end() && at->second.wants.tag == question.tag;
  const std::uint64_t told = goes_on ? at->second.told : written_;
  watchers_.insert_or_assign(node, Watcher{std::move(question), written_, clock_.now() + k_term});
  answer(encode(WatchAnswer{boot_id_, told, written_}));
}

bool ChangeTeller::is_wanted(bool WatchQuestion::*kind) const {
  return std::ranges::any_of(watchers_, [kind](const auto& watcher) { return watcher.second.wants.*kind; });
}

void ChangeTeller::command_changed(const std::shared_ptr<const CommandEntry>& command) {
  ++written_;
  if (!is_wanted(&WatchQuestion::commands)) return;
  const std::size_t steps = std::max<std::size_t>(command->steps.size(), 1);
  if (const auto at = command_at_.find(command->id); at != command_at_.end()) {
    CommandChange& known = commands_[at->second];
    known.last = std::max(known.last, steps);
  } else if (full()) {
    ++untold_;
  } else {
    command_at_.emplace(command->id, commands_.size());
    commands_.push_back({command->id, command->device, steps, steps});
  }
  schedule();
}

void ChangeTeller::twin_changed(const std::shared_ptr<const Twin>& twin) {
  ++written_;
  if (!is_wanted(&WatchQuestion::twins)) return;
  if (!twins_.contains(twin->device) && full()) {
    ++untold_;
  } else {
    twins_.insert(twin->device);
  }
  schedule();
}

void ChangeTeller::schedule() {
  if (std::exchange(due_, true)) return;
  worker_.after(k_pause, [this] {
    due_ = false;
    flush();
  });
}

void ChangeTeller::flush() {
  const Monotonic now = clock_.now();
  std::erase_if(watchers_, [now](const auto& watcher) { return now >= watcher.second.until; });
  if (commands_.empty() && twins_.empty() && untold_ == 0) return;
  for (auto& [node, watcher] : watchers_) tell(node, watcher);
  commands_.clear();
  command_at_.clear();
  twins_.clear();
  untold_ = 0;
}

// Where it takes more than one word, those before the last take a number for each thing in
// them: each is at least one change.
void ChangeTeller::tell(const std::string& node, Watcher& watcher) const {
  ChangeWord word{.tag = watcher.wants.tag};
  std::size_t bytes = 0;
  const auto send = [&](std::uint64_t through) {
    word.after = watcher.told;
    word.through = through;
    peers_->tell(node, k_peer_changes_told, encode(word), k_expiry);
    watcher.told = through;
    word.commands.clear();
    word.twins.clear();
    bytes = 0;
  };
  const auto make_room = [&](std::size_t more) {
    if (bytes + more > k_word_bytes) send(watcher.told + word.commands.size() + word.twins.size());
    bytes += more;
  };
  if (watcher.wants.commands) {
    for (const CommandChange& change : commands_) {
      make_room(change.id.size() + change.device.str().size() + k_around_bytes);
      word.commands.push_back(change);
    }
  }
  if (watcher.wants.twins) {
    for (const DeviceId& device : twins_) {
      make_room(device.str().size() + k_around_bytes);
      word.twins.push_back(device);
    }
  }
  word.untold = untold_;
  if (!word.commands.empty() || !word.twins.empty() || untold_ > 0) send(written_);
}

}  // namespace fieldgate::control
