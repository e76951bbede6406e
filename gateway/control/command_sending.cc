// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"

#include <algorithm>
#include <utility>

// How commands get to their devices.
namespace fieldgate::control {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

constexpr milliseconds k_backoff_min{500};
constexpr milliseconds k_backoff_max{10'000};

}  // namespace

struct CommandDesk::HandOver {
  std::string id;
  std::optional<CommandAdvance> begin;  // it is the first time: the ledger is to say so
  // Set anew by each run of the job.
  bool begun = false;  // by this connection
  std::optional<CommandEntry> entry;
};

void CommandDesk::heard(const DeviceInbox::Words& words) {
  for (const auto& [device, word] : words) {
    DeviceLine* line = word.online ? &book_.make_line(device) : book_.line(device);
    if (line == nullptr || word.epoch < line->epoch) continue;
    const bool fresh = word.online && (word.epoch > line->epoch || !line->online);
    line->epoch = word.epoch;
    line->online = word.online;
    if (fresh) {
      line->retry_at = {};
      line->backoff = {};
      line->known = false;
      for (OpenCommand* command : line->waiting) ask_to_cancel(*command);
      for (OpenCommand* command : line->running) ask_to_cancel(*command);
      look(*line);
    } else if (!word.online) {
      const auto waiting = line->waiting;
      for (OpenCommand* command : waiting) {
        if (command->no_wait && !command->out()) expire(*command);
      }
      line->askers.clear();
      let_go(*line);
    }
  }
}

void CommandDesk::pump(DeviceLine& line) {
  if (!line.online || line.handing != nullptr || !line.known || links_.downlink == nullptr) return;
  const Monotonic now = clock_.now();
  if (now < line.retry_at) return lines_wheel_.file(line, tick_of(line.retry_at));
  if (OpenCommand* command = CommandBook::next(line, now, settings_.in_flight_per_device)) prepare(line, *command);
}

void CommandDesk::retry_later(DeviceLine& line) {
  line.backoff = std::clamp(line.backoff * 2, k_backoff_min, k_backoff_max);
  line.retry_at = clock_.now() + line.backoff;
  lines_wheel_.file(line, tick_of(line.retry_at));
}

// Reads the command from the ledger and, the first time, has it say what is about to be.
void CommandDesk::prepare(DeviceLine& line, OpenCommand& command) {
  auto job = std::make_shared<HandOver>();
  job->id = command.id;
  // Also of one that another node's connection may have: else that node could take back what
  // it has begun, and nobody would know of what is begun here.
  const bool anothers = command.maybe_sent && command.begun != line.epoch;
  if (anothers || (command.begun == Epoch{} && !command.out())) {
    job->begin.emplace().id = command.id;
    job->begin->step = {CommandState::queued, clock_.unix_ms(), line.epoch, "being handed to the device's connection"};
    job->begin->while_handed_to = command.begun;
  }
  line.handing = &command;
  const bool taken = worker_.submit(
      [job](DeviceStore& store) -> Result<void> {
        job->begun = false;
        job->entry.reset();
        if (job->begin) {
          auto advanced = store.advance_command(*job->begin);
          if (!advanced) return advanced.error();
          if (advanced->has_value()) {
            job->entry = std::move(**advanced);
            job->begun = true;
            return {};
          }
        }
        auto entry = store.command(job->id);
        if (!entry) return entry.error();
        job->entry = std::move(*entry);
        // By a commit of which nobody knew: nothing was handed over after it.
        job->begun = job->begin && job->entry && job->entry->state == CommandState::queued &&
                     job->entry->steps.back().epoch == job->begin->step.epoch;
        return {};
      },
      [this, job](const Result<void>& outcome) { prepared(*job, outcome); });
  if (taken) return;
  line.handing = nullptr;
  retry_later(line);
}

void CommandDesk::prepared(HandOver& job, const Result<void>& outcome) {
  OpenCommand* command = book_.find(job.id);
  if (command == nullptr) return;  // it has ended meanwhile
  DeviceLine& line = *command->line;
  if (!outcome) {
    line.handing = nullptr;
    if (job.begin) command->tried = job.begin->step.epoch;  // if that was kept: nothing was handed over after it
    return line.online ? retry_later(line) : let_go(line);
  }
  if (!job.entry) return forget(job.id);
  absorb(*job.entry, job.begun);
  command = book_.find(job.id);
  if (command == nullptr) return;
  const Monotonic now = clock_.now();
  if (job.begin) {
    // Or else another node is at it, or was.
    if (job.begun) {
      command->begun = job.begin->step.epoch;
    } else if (command->state == CommandState::queued) {
      take_over(*command, *job.entry);
      line.handing = nullptr;
      ask_to_cancel(*command);
      file(*command);
      return pump(line);
    }
  }
  const bool out = command->out();
  const bool too_late = now >= (out ? command->timeout_at : command->expires_at);
  const bool must_not = out && command->at_most_once;
  if (too_late || must_not || command->cancel_wanted) {
    line.handing = nullptr;
    if (!out && command->cancel_wanted) {
      not_taken(*command);
    } else {
      ask_to_cancel(*command);  // nobody did while it was being read
      file(*command);           // its time is looked after there
    }
    return pump(line);
  }
  hand_over(line, *command, std::move(*job.entry));
}

void CommandDesk::hand_over(DeviceLine& line, OpenCommand& command, CommandEntry entry) {
  CommandFrame frame;
  frame.id = entry.id;
  frame.name = std::move(entry.name);
  frame.payload = std::move(entry.payload);
  const auto left =
      command.out() ? duration_cast<milliseconds>(command.timeout_at - clock_.now()) : milliseconds(command.timeout_ms);
  frame.deadline_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(left.count(), 1));
  links_.downlink->send(*line.device, std::move(frame), [this, id = command.id](Delivery delivery, Epoch epoch) {
    worker_.post([this, id, delivery, epoch] { answered(id, delivery, epoch); });
  });
}

void CommandDesk::answered(const std::string& id, Delivery delivery, Epoch epoch) {
  OpenCommand* command = book_.find(id);
  if (command == nullptr) return;  // its result was here first
  DeviceLine& line = *command->line;
  if (line.handing != command) return;
  line.handing = nullptr;
  switch (delivery) {
    case Delivery::sent:
      line.backoff = {};
      taken(*command, epoch);
      break;
    case Delivery::offline:
      retry_later(line);
      not_taken(*command);
      break;
    case Delivery::busy:
      retry_later(line);
      if (command->cancel_wanted) command->out() ? ask_to_cancel(*command) : not_taken(*command);
      break;
    case Delivery::too_large:
      cannot_take(*command, "the device takes no message as large as this command (receive_max_bytes in its Hello)");
      break;
    case Delivery::unsupported:
      cannot_take(*command, "the device does not take commands (capabilities in its Hello)");
      break;
  }
  if (OpenCommand* still = book_.find(id); still != nullptr && !still->writing) file(*still);
  pump(line);
  if (!line.online) let_go(line);
}

void CommandDesk::taken(OpenCommand& command, Epoch epoch) {
  probe_.sent.add();
  if (command.out()) probe_.sent_again.add();
  command.epoch = epoch;
  const Monotonic now = clock_.now();
  command.resend_at = now + settings_.resend_after;
  if (command.state == CommandState::queued) command.timeout_at = now + milliseconds(command.timeout_ms);
  if (command.state <= CommandState::sent) {
    book_.set_state(command, CommandState::sent);
    write(command, CommandState::sent, epoch, {}, true);
  }
  ask_to_cancel(command);
}

// No connection has it, for sure: unless one had it before.
void CommandDesk::not_taken(OpenCommand& command) {
  if (command.out()) return;
  if (command.cancel_wanted) {
    write(command, CommandState::cancelled, {}, k_as_wished);
  } else if (command.no_wait) {
    expire(command);
  } else {
    write(command, CommandState::queued, {}, "the device's connection ended before it could take it");
  }
  command.begun = {};
}

void CommandDesk::cannot_take(OpenCommand& command, std::string detail) {
  if (command.out()) {
    command.refused_epoch = command.line->epoch;
    ask_to_cancel(command);
  } else {
    write(command, CommandState::rejected, {}, std::move(detail));
  }
}

// It is to be cancelled: at once, where no connection has it; else the device is asked.
void CommandDesk::heed_wish(OpenCommand& command, std::string detail) {
  if (command.line->handing == &command) return;  // as it is known what came of that
  if (command.out()) return ask_to_cancel(command);
  if (!command.unwritten) write(command, CommandState::cancelled, {}, std::move(detail));
}

// Once per connection, if the device has it or may have.
void CommandDesk::ask_to_cancel(OpenCommand& command) {
  DeviceLine& line = *command.line;
  if (!command.cancel_wanted || !command.out() || !line.online || line.handing == &command ||
      links_.downlink == nullptr) {
    return;
  }
  links_.downlink->send(*line.device, CommandCancelFrame{command.id}, [](Delivery, Epoch) {});
}

}  // namespace fieldgate::control
