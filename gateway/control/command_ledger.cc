// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"

#include "gateway/control/tell_owner.h"

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

std::string CommandDesk::timed_out_detail(bool maybe_sent, std::int64_t timeout_ms) {
  const std::string timeout = in_seconds(timeout_ms);
  if (!maybe_sent) return "no result within " + timeout + " of sending it";
  return "the gateway ended while it was handing it over, and there was no result within " + timeout +
         ": whether the device has it is not known";
}

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

// What was written as it went down may or may not be in the ledger: what is open there is
// read again.
void CommandDesk::store_is_back() {
  book_.each([this](OpenCommand& command) {
    command.write_at = clock_.now();
    flush(command);
  });
  look_at_ = round_at_ = clock_.now();
  book_.each_line([this](DeviceLine& line) {
    if (line.online) look(line);
  });
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

// A command that another process has, or had. What it is handing over, a device may have.
void CommandDesk::take_over(OpenCommand& command, const CommandEntry& entry) const {
  const milliseconds timeout(entry.timeout_ms);
  command.begun = {};
  command.maybe_sent = false;
  if (is_not_handed_over(entry)) {
    command.epoch = {};
    command.timeout_at = Monotonic::max();
    return;
  }
  if (entry.state == CommandState::queued) {
    const CommandStep& begun = entry.steps.back();
    command.begun = begun.epoch;
    command.maybe_sent = true;
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

// `ours`: its last step was written here, and is to be told.
void CommandDesk::follow(const CommandEntry& entry, bool ours) {
  if (book_.find(entry.id) != nullptr) return catch_up(entry, ours);
  if (ours) tell(entry);
  if (!is_final(entry.state)) return;
  if (ours && open_ > 0) --open_;
  waiters_.ended(entry.id, entry);
}

// Wherever this is first seen, the wish to cancel among it is heeded.
void CommandDesk::catch_up(const CommandEntry& entry, bool ours) {
  const OpenCommand* known = book_.find(entry.id);
  if (known == nullptr) return;
  const bool wish = entry.cancel_wanted && !known->cancel_wanted;
  absorb(entry, ours);
  OpenCommand* still = wish ? book_.find(entry.id) : nullptr;
  if (still != nullptr) heed_wish(*still, k_as_wished);
}

void CommandDesk::absorb(const CommandEntry& entry, bool ours) {
  OpenCommand* command = book_.find(entry.id);
  if (command == nullptr) return;
  command->steps = entry.steps.size();
  command->cancel_wanted = command->cancel_wanted || entry.cancel_wanted;
  if (ours) tell(entry);
  if (is_final(entry.state)) return ended(*command, entry);
  DeviceLine& line = *command->line;
  const bool in_hand = line.handing == command || command->unwritten;
  if (entry.state > command->state) {
    const bool foreign = command->epoch == Epoch{} || command->maybe_sent;
    book_.set_state(*command, entry.state);
    if (foreign && !in_hand) take_over(*command, entry);
    if (command->timeout_at == Monotonic::max()) {
      command->timeout_at = clock_.now() + milliseconds(command->timeout_ms);
    }
  } else if (!in_hand && entry.state == CommandState::queued && command->state == CommandState::queued) {
    // Of a connection here that is busy, it is still its turn; also if nobody knew whether the
    // ledger has it.
    const Epoch begun = entry.steps.empty() ? Epoch{} : entry.steps.back().epoch;
    const bool known = begun == command->begun || (begun == command->tried && begun == line.epoch);
    if (begun != Epoch{} && known && !command->maybe_sent) {
      command->begun = begun;
    } else {
      take_over(*command, entry);
    }
  }
  file(*command);
  pump(line);
  if (!line.online) let_go(line);
}

// The device is not connected here: its commands are no affair of this node any more, but
// for what it still has to write of them.
void CommandDesk::let_go(DeviceLine& line) {
  line.known = false;
  std::vector<OpenCommand*> all(line.waiting);
  all.insert(all.end(), line.running.begin(), line.running.end());
  for (OpenCommand* command : all) {
    if (!command->unwritten && line.handing != command) book_.erase(*command);
  }
  book_.tidy(line);
}

void CommandDesk::ended(OpenCommand& command, const Result<CommandEntry>& outcome) {
  const std::string id = command.id;
  DeviceLine& line = *command.line;
  book_.erase(command);
  if (open_ > 0) --open_;
  for (const std::string& node : line.askers) links_.peers->tell(node, k_peer_command_news, id);
  if (line.empty()) line.askers.clear();
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

void CommandDesk::count(const CommandEntry& entry) {
  if (entry.steps.size() == 1) probe_.issued.add();
  if (!is_final(entry.state)) return;
  const std::int64_t ms = std::max<std::int64_t>(entry.steps.back().unix_ms - entry.created_unix_ms, 0);
  probe_.ended[static_cast<std::size_t>(entry.state)].observe(static_cast<std::uint64_t>(ms) * 1'000);
}

void CommandDesk::tell(const CommandEntry& entry) {
  if (!entry.steps.empty()) count(entry);
  const auto shared = std::make_shared<const CommandEntry>(entry);
  for (ControlSink* sink : links_.sinks) sink->command_changed(shared);
  if (links_.recorder == nullptr || entry.steps.empty()) return;
  // What was asked for, and what became of it: the rest is in the ledger, and a device's
  // timeline has room for other things than its commands.
  const CommandStep& step = entry.steps.back();
  if (entry.steps.size() > 1 && !is_final(step.state)) return;
  TimelineEntry line{.device = entry.device, .kind = TimelineKind::command, .unix_ms = step.unix_ms};
  line.epoch = step.epoch;
  line.fields = {{"id", entry.id}, {"name", entry.name}, {"state", std::string(to_string(step.state))}};
  if (!step.detail.empty()) line.fields.emplace_back("detail", step.detail);
  links_.recorder->record(std::move(line));
}

// --- what is to be written

void CommandDesk::write(OpenCommand& command, CommandState state, Epoch epoch, std::string detail, bool sent) {
  assert(!command.unwritten);
  CommandAdvance advance;
  advance.id = command.id;
  advance.step = {state, clock_.unix_ms(), epoch, std::move(detail)};
  advance.sent_again = sent;
  // What is so only if no device has it, or as long as nobody knows.
  if (!sent && command.state == CommandState::queued) advance.while_handed_to = command.begun;
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
  if (writes_ >= k_writes_max) {
    command.write_at = clock_.now() + k_write_again;
    unflushed_.push_back(command.id);
    return file(command);
  }
  struct Write {
    CommandAdvance advance;
    // Set anew by each run of the job.
    std::optional<CommandEntry> now;
    bool ours = false;
  };
  auto job = std::make_shared<Write>(Write{*command.unwritten, {}, false});
  command.writing = worker_.submit(
      [job](DeviceStore& store) -> Result<void> {
        auto advanced = store.advance_command(job->advance);
        job->ours = advanced && advanced->has_value();
        // Something else has come before, or the same, by a commit of which nobody knew: what it
        // was, the ledger knows.
        if (advanced && !job->ours) advanced = store.command(job->advance.id);
        if (!advanced) return advanced.error();
        job->now = std::move(*advanced);
        const bool known = job->now && !job->now->steps.empty();
        job->ours = job->ours || (known && job->now->steps.back() == job->advance.step);
        // Wished while this node had it in hand: where that wish is known, it is not known that nobody has it.
        if (!job->ours || !job->now->cancel_wanted || !is_not_handed_over(*job->now)) return {};
        CommandAdvance wished{.id = job->advance.id,
                              .step = {CommandState::cancelled, job->advance.step.unix_ms, {}, k_as_wished},
                              .while_handed_to = Epoch{}};
        advanced = store.advance_command(wished);
        if (!advanced) return advanced.error();
        if (*advanced) job->now = std::move(*advanced);
        return {};
      },
      [this, job](const Result<void>& outcome) {
        --writes_;
        flush_more();
        OpenCommand* written = book_.find(job->advance.id);
        if (written == nullptr) return;
        written->writing = false;
        if (!outcome) {
          written->write_at = clock_.now() + k_write_again;
          return file(*written);
        }
        written->unwritten.reset();
        if (!job->now) return forget(job->advance.id);
        // Whom the device has gone to does not know yet that nobody took it here.
        const bool passed_on = job->advance.step.state == CommandState::queued && !written->line->online;
        if (passed_on) tell_owner(worker_, links_, k_peer_command_look, job->now->device, [] {});
        // Somebody may have wished it cancelled while this was on its way: the word of that finds it known.
        catch_up(*job->now, job->ours);
      });
  if (command.writing) ++writes_;
  if (!command.writing) command.write_at = clock_.now() + k_write_again;
  file(command);
}

void CommandDesk::flush_more() {
  while (writes_ < k_writes_max && !unflushed_.empty()) {
    OpenCommand* command = book_.find(unflushed_.front());
    unflushed_.pop_front();
    if (command == nullptr || !command->unwritten || command->writing) continue;
    command->write_at = clock_.now();
    flush(*command);
  }
}

void CommandDesk::expire(OpenCommand& command) {
  if (command.unwritten || command.line->handing == &command) return;
  const std::int64_t ttl = duration_cast<milliseconds>(command.expires_at - clock_.now()).count();
  std::string detail = "it was not sent within its time to live";
  if (command.no_wait && ttl > 0) detail = "the device was not connected, and the command was not to wait for it";
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
  look_next();
  if (now >= round_at_) round();
  if (now >= trim_at_) trim();
}

void CommandDesk::due(OpenCommand& command) {
  if (command.unwritten) return flush(command);
  const Monotonic now = clock_.now();
  DeviceLine& line = *command.line;
  if (line.handing == &command) return commands_wheel_.file(command, commands_wheel_.now() + 1);
  if (!command.out()) return now >= command.expires_at ? expire(command) : file(command);
  if (now >= command.timeout_at) {
    return write(command, CommandState::timed_out, {}, timed_out_detail(command.maybe_sent, command.timeout_ms));
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
  const bool news = advanced->has_value();
  journalled_.emplace_back(news ? std::move(**advanced) : std::move(**before), news);
  return {};
}

void CommandDesk::committed() {
  for (const auto& [entry, news] : journalled_) {
    const OpenCommand* command = book_.find(entry.id);
    // What is no news to the ledger may be some to who did not hear of the commit.
    if (news) {
      follow(entry, true);
    } else if (command != nullptr && command->steps < entry.steps.size()) {
      catch_up(entry, true);
    }
  }
  journalled_.clear();
}

}  // namespace fieldgate::control
