// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"

#include <algorithm>
#include <utility>

// What the ledger has that this node did not write: commands that wait for a device which
// has just come, that another node has taken, that nobody looks after any more.
namespace fieldgate::control {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_look_again{1'000};

}  // namespace

// --- a device has come, or a word about it

struct CommandDesk::Look {
  std::vector<DeviceId> devices;
  // Set anew by each run of the job.
  std::vector<std::vector<CommandEntry>> found;  // of the first so many devices
  std::vector<std::string> gone;
};

void CommandDesk::look(DeviceLine& line) {
  if (!worker_.available()) return;  // once it is, all are looked at
  if (look_wanted_.insert(*line.device).second) to_look_.push_back(*line.device);
  look_next();
}

void CommandDesk::look_next() {
  if (looking_ || to_look_.empty() || clock_.now() < look_at_) return;
  auto job = std::make_shared<Look>();
  while (!to_look_.empty() && job->devices.size() < look_devices_) {
    DeviceId device = std::move(to_look_.front());
    to_look_.pop_front();
    look_wanted_.erase(device);
    const DeviceLine* line = book_.line(device);
    if (line != nullptr && line->online) job->devices.push_back(std::move(device));
  }
  if (job->devices.empty()) return;
  looking_ = worker_.submit([this, job](DeviceStore& store) { return look_in(store, *job); },
                            [this, job](const Result<void>& outcome) { looked(*job, outcome); });
  if (!looking_) look_again(job->devices);
}

void CommandDesk::look_again(std::span<const DeviceId> devices) {
  for (const DeviceId& device : devices) {
    if (look_wanted_.insert(device).second) to_look_.push_back(device);
  }
}

Result<void> CommandDesk::look_in(DeviceStore& store, Look& job) {
  job.found.clear();
  job.gone.clear();
  std::size_t read = 0;
  for (const DeviceId& device : job.devices) {
    if (read >= k_look_commands) break;
    auto& all = job.found.emplace_back();
    std::string after;
    for (;;) {
      auto page = store.open_commands(device, after, k_page);
      if (!page) return page.error();
      const bool last = page->size() < k_page;
      if (!last) after = page->back().id;
      std::ranges::move(*page, std::back_inserter(all));
      if (last) break;
    }
    read += all.size();
    const DeviceLine* line = book_.line(device);
    if (line == nullptr) continue;
    // What is here and not open there has ended, or went with its device.
    std::vector<OpenCommand*> here(line->waiting);
    here.insert(here.end(), line->running.begin(), line->running.end());
    for (const OpenCommand* command : here) {
      if (std::ranges::find(all, command->id, &CommandEntry::id) != all.end()) continue;
      auto entry = store.command(command->id);
      if (!entry) return entry.error();
      if (entry->has_value()) {
        all.push_back(std::move(**entry));
      } else {
        job.gone.push_back(command->id);
      }
    }
  }
  return {};
}

void CommandDesk::looked(Look& job, const Result<void>& outcome) {
  looking_ = false;
  if (!outcome) {
    log_.warn("commands_not_read", {{"error", outcome.error().detail}});
    // One that cannot be read is not to keep the others from it.
    look_devices_ = 1;
    look_at_ = clock_.now() + k_look_again;
    return look_again(job.devices);
  }
  look_devices_ = k_look_devices;
  look_again(std::span(job.devices).subspan(job.found.size()));
  for (const std::string& id : job.gone) forget(id);
  for (std::size_t i = 0; i < job.found.size(); ++i) {
    DeviceLine* line = book_.line(job.devices[i]);
    if (line == nullptr || !line->online) continue;
    for (const CommandEntry& entry : job.found[i]) {
      if (book_.find(entry.id) != nullptr) {
        catch_up(entry, false);
      } else if (!is_final(entry.state)) {
        OpenCommand& command = adopt(entry);
        take_over(command, entry);
        file(command);
        ask_to_cancel(command);
      }
    }
    line->known = true;
    pump(*line);
  }
  look_next();
}

// --- once a second: what is overdue, and what was missed

struct CommandDesk::Round {
  std::string after;
  CommandDue overdue_after;
  // Set anew by each run of the job.
  std::optional<CommandDue> looked_at;  // up to there, and more is overdue
  std::vector<CommandEntry> ended;
  std::vector<CommandRef> refs;
  std::size_t open = 0;
};

void CommandDesk::round() {
  if (rounding_ || !worker_.available()) return;
  round_at_ = clock_.now() + k_round;
  auto job = std::make_shared<Round>();
  job->after = round_after_;
  job->overdue_after = overdue_after_;
  rounding_ = worker_.submit([this, job](DeviceStore& store) { return round_in(store, *job); },
                             [this, job](const Result<void>& outcome) { rounded(*job, outcome); });
  std::vector<std::string> waited = waiters_.some(waiters_after_, k_round_waiters);
  waiters_after_ = waited.size() < k_round_waiters ? std::string() : waited.back();
  std::erase_if(waited, [this](const std::string& id) { return book_.find(id) != nullptr; });
  read_again(std::move(waited));
}

Result<void> CommandDesk::round_in(DeviceStore& store, Round& job) {
  job.ended.clear();
  job.looked_at.reset();
  auto late = store.overdue_commands(clock_.unix_ms(), job.overdue_after, k_page);
  if (!late) return late.error();
  if (late->size() == k_page) job.looked_at = due_of(late->back());
  for (const CommandEntry& entry : *late) {
    const auto advance = overdue(entry);
    if (!advance) continue;
    auto advanced = store.advance_command(*advance);
    if (!advanced) return advanced.error();
    if (advanced->has_value()) job.ended.push_back(std::move(**advanced));
  }
  auto refs = store.open_command_refs(job.after, k_round_refs);
  if (!refs) return refs.error();
  job.refs = std::move(*refs);
  const auto open = store.open_command_count();
  if (!open) return open.error();
  job.open = *open;
  return {};
}

// Those of connected devices have timers of their own, here or elsewhere; where both are
// at it, the ledger takes one. Of one that is being handed over it is not known before its
// timeout whether it was sent: it is passed over until then, and what is behind it is not.
std::optional<CommandAdvance> CommandDesk::overdue(const CommandEntry& entry) const {
  if (book_.has(entry.id)) return std::nullopt;
  const std::int64_t now = clock_.unix_ms();
  CommandAdvance advance{.id = entry.id};
  if (is_not_handed_over(entry)) {
    advance.step = {CommandState::expired, now, {}, "it was not sent within its time to live"};
    advance.while_handed_to = Epoch{};
    return advance;
  }
  const bool maybe_sent = entry.state == CommandState::queued;
  if (maybe_sent) {
    const CommandStep& begun = entry.steps.back();
    if (begun.unix_ms + entry.timeout_ms > now) return std::nullopt;
    advance.while_handed_to = begun.epoch;
  }
  advance.step = {CommandState::timed_out, now, {}, timed_out_detail(maybe_sent, entry.timeout_ms)};
  return advance;
}

void CommandDesk::rounded(Round& job, const Result<void>& outcome) {
  rounding_ = false;
  if (!outcome) return;
  for (const CommandEntry& entry : job.ended) follow(entry, true);
  open_ = job.open;
  if (job.looked_at && !job.ended.empty()) round_at_ = clock_.now();
  overdue_after_ = job.looked_at.value_or(CommandDue{});
  for (const CommandRef& ref : job.refs) {
    DeviceLine* line = book_.line(ref.device);
    if (line == nullptr || !line->online || !line->known) continue;
    const OpenCommand* command = book_.find(ref.id);
    if (command == nullptr || (ref.cancel_wanted && !command->cancel_wanted)) look(*line);
  }
  round_after_ = job.refs.size() < k_round_refs ? std::string() : job.refs.back().id;
}

void CommandDesk::read_again(std::vector<std::string> ids) {
  if (ids.empty()) return;
  struct Read {
    std::vector<std::string> ids;
    std::vector<std::optional<CommandEntry>> found;  // set anew by each run of the job
  };
  auto job = std::make_shared<Read>(Read{std::move(ids), {}});
  worker_.submit(
      [job](DeviceStore& store) -> Result<void> {
        job->found.clear();
        for (const std::string& id : job->ids) {
          auto entry = store.command(id);
          if (!entry) return entry.error();
          job->found.push_back(std::move(*entry));
        }
        return {};
      },
      [this, job](const Result<void>& outcome) {
        if (!outcome) return;
        for (std::size_t i = 0; i < job->ids.size(); ++i) {
          if (job->found[i]) {
            follow(*job->found[i], false);
          } else {
            waiters_.ended(job->ids[i], make_error(Errc::not_found, "the command went with its device"));
          }
        }
      });
}

// --- words between nodes

void CommandDesk::nudged(const NudgeBox::Nudges& devices) {
  for (const auto& [what, from] : devices) {
    const auto device = DeviceId::parse(what);
    DeviceLine* line = device ? book_.line(*device) : nullptr;
    if (line == nullptr || !line->online) continue;
    if (line->askers.size() < k_askers_max && std::ranges::find(line->askers, from) == line->askers.end()) {
      line->askers.push_back(from);
    }
    look(*line);
  }
}

void CommandDesk::news(const NudgeBox::Nudges& ids) {
  std::vector<std::string> waited;
  for (const auto& [id, from] : ids) {
    if (waited.size() < k_round_waiters && waiters_.has(id)) waited.push_back(id);
  }
  read_again(std::move(waited));
}

}  // namespace fieldgate::control
