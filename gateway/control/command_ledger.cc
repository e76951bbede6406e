// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

// How memory follows the ledger, and what time does to commands.
namespace fieldgate::control {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds k_write_again{1'000};
constexpr seconds k_load_again{5};
constexpr seconds k_trim_every{60};
constexpr std::size_t k_trim_rows = 500;

// The step by which it was last handed over, if it was.
const CommandStep* last_sent(const CommandEntry& entry) {
  const auto at = std::ranges::find(entry.steps.rbegin(), entry.steps.rend(), CommandState::sent, &CommandStep::state);
  return at == entry.steps.rend() ? nullptr : &*at;
}

std::string in_seconds(std::int64_t ms) {
  const std::string rest = std::to_string(1'000 + ms % 1'000).substr(1);
  return std::to_string(ms / 1'000) + (rest == "000" ? "" : "." + rest) + " s";
}

}  // namespace

bool CommandDesk::is_not_handed_over(const CommandEntry& entry) noexcept {
  return entry.state == CommandState::queued && (entry.steps.empty() || entry.steps.back().epoch == Epoch{});
}

Monotonic CommandDesk::at(std::int64_t unix_ms) const {
  return clock_.now() + milliseconds(unix_ms - clock_.unix_ms());
}

std::uint32_t CommandDesk::tick_of(Monotonic when) const {
  if (when == Monotonic::max()) return commands_wheel_.now() + TimerWheel::k_span;
  const auto ahead = std::max(when - started_, Monotonic::duration::zero());
  return static_cast<std::uint32_t>((ahead + k_tick - Monotonic::duration(1)) / k_tick);
}

// --- what the ledger has open

void CommandDesk::load() {
  std::string after;
  for (;;) {
    std::vector<CommandEntry> page;
    const auto outcome = worker_.run_now([&](DeviceStore& store) -> Result<void> {
      auto read = store.open_commands(after, k_page);
      if (!read) return read.error();
      page = std::move(*read);
      return {};
    });
    if (!outcome) {
      log_.warn("commands_not_loaded", {{"error", outcome.error().detail}});
      return;
    }
    take_page(page);
    if (page.size() < k_page) return loaded();
    after = page.back().id;
  }
}

// What was written as it went down may or may not be in the ledger: what is open there is
// read again.
void CommandDesk::store_is_back() {
  book_.each([this](OpenCommand& command) {
    command.write_at = clock_.now();
    flush(command);
  });
  load_wanted_ = true;
  if (!loading_) load_page({});
}

void CommandDesk::load_page(std::string after) {
  auto page = std::make_shared<std::vector<CommandEntry>>();
  loading_ = worker_.submit(
      [page, after = std::move(after)](DeviceStore& store) -> Result<void> {
        auto read = store.open_commands(after, k_page);
        if (!read) return read.error();
        *page = std::move(*read);
        return {};
      },
      [this, page](const Result<void>& outcome) {
        if (!outcome) {
          log_.warn("commands_not_loaded", {{"error", outcome.error().detail}});
          loading_ = false;
          load_at_ = clock_.now() + k_load_again;
          return;
        }
        take_page(*page);
        if (page->size() == k_page) return load_page(page->back().id);
        loaded();
      });
  if (!loading_) load_at_ = clock_.now() + k_load_again;
}

void CommandDesk::take_page(const std::vector<CommandEntry>& page) {
  for (const CommandEntry& entry : page) {
    if (book_.find(entry.id) != nullptr) {
      absorb(entry);
    } else {
      OpenCommand& command = adopt(entry);
      take_over(command, entry);
      file(command);
    }
  }
}

void CommandDesk::loaded() {
  loading_ = load_wanted_ = false;
  loaded_ = true;
  book_.each_line([this](DeviceLine& line) { pump(line); });
}

OpenCommand& CommandDesk::adopt(const CommandEntry& entry) {
  OpenCommand& command = book_.add(entry.id, entry.device, entry.state);
  command.at_most_once = entry.at_most_once;
  command.timeout_ms = entry.timeout_ms;
  command.expires_at = at(entry.expires_unix_ms);
  command.cancel_wanted = entry.cancel_wanted;
  command.steps = entry.steps.size();
  file(command);
  return command;
}

// A command that another process left. What it was handing over, a device may have.
void CommandDesk::take_over(OpenCommand& command, const CommandEntry& entry) const {
  const milliseconds timeout(entry.timeout_ms);
  if (is_not_handed_over(entry)) return;
  if (entry.state == CommandState::queued) {
    const CommandStep& begun = entry.steps.back();
    command.begun = command.maybe_sent = true;
    command.epoch = begun.epoch;
    command.timeout_at = at(begun.unix_ms) + timeout;
    return;
  }
  const CommandStep* sent = last_sent(entry);
  if (sent != nullptr) command.epoch = sent->epoch;
  command.resend_at = clock_.now() + settings_.resend_after;
  command.timeout_at =
      at(entry.first_sent_unix_ms != 0 ? entry.first_sent_unix_ms : entry.steps.back().unix_ms) + timeout;
}

// --- what has been committed

void CommandDesk::absorb(const CommandEntry& entry) {
  OpenCommand* command = book_.find(entry.id);
  if (command == nullptr) return;
  const std::size_t told = std::exchange(command->steps, entry.steps.size());
  const bool wish = entry.cancel_wanted && !std::exchange(command->cancel_wanted, entry.cancel_wanted);
  if (is_final(entry.state)) {
    tell(entry, told);
    return ended(*command, entry);
  }
  if (entry.state > command->state) {
    book_.set_state(*command, entry.state);
    if (command->timeout_at == Monotonic::max()) {
      command->timeout_at = clock_.now() + milliseconds(command->timeout_ms);
    }
  }
  if (told < entry.steps.size() || wish) tell(entry, told);
  file(*command);
  pump(*command->line);
}

void CommandDesk::ended(OpenCommand& command, const Result<CommandEntry>& outcome) {
  const std::string id = command.id;
  DeviceLine& line = *command.line;
  book_.erase(command);
  pump(line);
  book_.tidy(line);
  waiters_.ended(id, outcome);
}

// It is not in the ledger any more: its device was deleted.
void CommandDesk::forget(const std::string& id) {
  OpenCommand* command = book_.find(id);
  if (command == nullptr) return;
  ended(*command, make_error(Errc::not_found, "the command went with its device"));
}

void CommandDesk::tell(const CommandEntry& entry, std::size_t steps_told) {
  const auto shared = std::make_shared<const CommandEntry>(entry);
  for (ControlSink* sink : links_.sinks) sink->command_changed(shared);
  if (links_.recorder == nullptr) return;
  for (std::size_t i = steps_told; i < entry.steps.size(); ++i) {
    const CommandStep& step = entry.steps[i];
    // What was asked for, and what became of it: the rest is in the ledger, and a device's
    // timeline has room for other things than its commands.
    if (i > 0 && !is_final(step.state)) continue;
    TimelineEntry line{.device = entry.device, .kind = TimelineKind::command, .unix_ms = step.unix_ms};
    line.epoch = step.epoch;
    line.fields = {{"id", entry.id}, {"name", entry.name}, {"state", std::string(to_string(step.state))}};
    if (!step.detail.empty()) line.fields.emplace_back("detail", step.detail);
    links_.recorder->record(std::move(line));
  }
}

// --- what is to be written

void CommandDesk::write(OpenCommand& command, CommandState state, Epoch epoch, std::string detail, bool sent) {
  assert(!command.unwritten);
  CommandAdvance advance;
  advance.id = command.id;
  advance.step = {state, clock_.unix_ms(), epoch, std::move(detail)};
  advance.sent_again = sent;
  command.unwritten = std::move(advance);
  command.write_at = clock_.now();
  flush(command);
}

void CommandDesk::flush(OpenCommand& command) {
  if (command.writing || !command.unwritten || clock_.now() < command.write_at) return file(command);
  if (!worker_.available()) {  // as it is back, this is called again
    command.write_at = clock_.now() + k_write_again;
    return file(command);
  }
  struct Write {
    CommandAdvance advance;
    std::optional<CommandEntry> now;  // set anew by each run of the job
  };
  auto job = std::make_shared<Write>(Write{*command.unwritten, {}});
  command.writing = worker_.submit(
      [job](DeviceStore& store) -> Result<void> {
        auto advanced = store.advance_command(job->advance);
        // Something else has come before: what it was, the ledger knows.
        if (advanced && !advanced->has_value()) advanced = store.command(job->advance.id);
        if (!advanced) return advanced.error();
        job->now = std::move(*advanced);
        return {};
      },
      [this, job](const Result<void>& outcome) {
        OpenCommand* written = book_.find(job->advance.id);
        if (written == nullptr) return;
        written->writing = false;
        if (!outcome) {
          written->write_at = clock_.now() + k_write_again;
          return file(*written);
        }
        written->unwritten.reset();
        if (!job->now) return forget(job->advance.id);
        absorb(*job->now);
      });
  if (!command.writing) command.write_at = clock_.now() + k_write_again;
  file(command);
}

void CommandDesk::expire(OpenCommand& command) {
  if (command.unwritten || command.line->handing == &command) return;
  const std::int64_t ttl = duration_cast<milliseconds>(command.expires_at - clock_.now()).count();
  std::string detail = "it was not sent within its time to live";
  if (command.no_wait && ttl > 0) detail = "the device was not connected, and the command was not to wait for it";
  if (command.given_up) detail += ": too many connections ended as it was handed to them";
  write(command, CommandState::expired, {}, std::move(detail));
}

// --- time

void CommandDesk::file(OpenCommand& command) {
  Monotonic when;
  if (command.unwritten) {
    when = command.writing ? clock_.now() + k_write_again : command.write_at;
  } else if (command.out()) {
    const bool again = command.state == CommandState::sent && !command.at_most_once && !command.cancel_wanted &&
                       command.line->online && command.epoch == command.line->epoch;
    when = again ? std::min(command.timeout_at, command.resend_at) : command.timeout_at;
  } else {
    when = command.expires_at;
  }
  commands_wheel_.file(command, tick_of(when));
}

void CommandDesk::tick() {
  worker_.after(k_tick, [this] { tick(); });
  const Monotonic now = clock_.now();
  const auto current = static_cast<std::uint32_t>((now - started_) / k_tick);
  commands_wheel_.advance(current, [this](TimerNode& node) { due(static_cast<OpenCommand&>(node)); });
  lines_wheel_.advance(current, [this](TimerNode& node) { pump(static_cast<DeviceLine&>(node)); });
  for (auto& impatient : waiters_.advance(current)) get(impatient.id, std::move(impatient.reply));
  if (load_wanted_ && !loading_ && now >= load_at_ && worker_.available()) load_page({});
  if (now >= trim_at_) trim();
}

void CommandDesk::due(OpenCommand& command) {
  if (command.unwritten) return flush(command);
  const Monotonic now = clock_.now();
  DeviceLine& line = *command.line;
  if (line.handing == &command) return commands_wheel_.file(command, commands_wheel_.now() + 1);
  if (!command.out()) return now >= command.expires_at ? expire(command) : file(command);
  if (now >= command.timeout_at) {
    const std::string timeout = in_seconds(command.timeout_ms);
    return write(command, CommandState::timed_out, {},
                 command.maybe_sent
                     ? "the gateway ended while it was handing it over, and there was no result within " + timeout +
                           ": whether the device has it is not known"
                     : "no result within " + timeout + " of sending it");
  }
  pump(line);
  file(command);
}

void CommandDesk::trim() {
  trim_at_ = clock_.now() + k_trim_every;
  const std::int64_t before = clock_.unix_ms() - duration_cast<milliseconds>(commands_kept_).count();
  auto trimmed = std::make_shared<std::size_t>(0);
  worker_.submit(
      [trimmed, before](DeviceStore& store) -> Result<void> {
        auto gone = store.trim_commands(before, k_trim_rows);
        if (!gone) return gone.error();
        *trimmed = *gone;
        return {};
      },
      [this, trimmed](const Result<void>& outcome) {
        if (outcome && *trimmed == k_trim_rows) trim_at_ = clock_.now();
      });
}

// --- what devices say

Result<void> CommandDesk::apply(DeviceStore& store, const JournalRecord& record) {
  const auto* ack = std::get_if<CommandAckReply>(&record.reply);
  const auto* result = std::get_if<CommandResultReply>(&record.reply);
  if (ack == nullptr && result == nullptr) return {};
  CommandAdvance advance;
  advance.id = ack != nullptr ? ack->id : result->id;
  auto before = store.command(advance.id);
  if (!before) return before.error();
  if (!before->has_value() || (*before)->device != record.device) {
    log_.debug("command_reply_without_command", {{"device", record.device.str()}, {"command", advance.id}});
    return {};
  }
  // That it was taken is known by this answer, if not by the connection's.
  if ((*before)->state == CommandState::queued && !is_not_handed_over(**before)) {
    CommandStep sent = (*before)->steps.back();
    sent.state = CommandState::sent;
    sent.detail = "as its answer shows";
    if (auto taken = store.advance_command({.id = advance.id, .step = std::move(sent), .sent_again = true}); !taken) {
      return taken.error();
    }
  }
  advance.step = {CommandState::acknowledged, record.received_unix_ms, record.epoch};
  if (result != nullptr) {
    using Outcome = CommandResultReply::Outcome;
    advance.step.state = result->outcome == Outcome::succeeded  ? CommandState::succeeded
                         : result->outcome == Outcome::failed   ? CommandState::failed
                         : result->outcome == Outcome::rejected ? CommandState::rejected
                                                                : CommandState::cancelled;
    advance.result_text = result->text;
    advance.result_payload = result->payload;
  }
  auto advanced = store.advance_command(advance);
  if (!advanced) return advanced.error();
  if (advanced->has_value()) journalled_.push_back(std::move(**advanced));
  return {};
}

void CommandDesk::committed() {
  for (const CommandEntry& entry : journalled_) {
    if (book_.find(entry.id) != nullptr) {
      absorb(entry);
    } else {
      tell(entry, entry.steps.size() - 1);  // a result that came late, or another node's command
      if (is_final(entry.state)) waiters_.ended(entry.id, entry);
    }
  }
  journalled_.clear();
}

}  // namespace fieldgate::control
