// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_book.h"

#include <algorithm>
#include <cassert>

namespace fieldgate::control {

OpenCommand* CommandBook::find(const std::string& id) {
  const auto at = open_.find(id);
  return at == open_.end() ? nullptr : &at->second;
}

DeviceLine* CommandBook::line(const DeviceId& device) {
  const auto at = lines_.find(device);
  return at == lines_.end() ? nullptr : &at->second;
}

DeviceLine& CommandBook::make_line(const DeviceId& device) {
  const auto at = lines_.try_emplace(device).first;
  at->second.device = &at->first;
  return at->second;
}

void CommandBook::tidy(DeviceLine& line) {
  if (!line.online && line.empty()) lines_.erase(lines_.find(*line.device));
}

OpenCommand& CommandBook::add(const std::string& id, const DeviceId& device, CommandState state) {
  OpenCommand& command = open_[id];
  assert(command.line == nullptr);
  DeviceLine& line = make_line(device);
  command.id = id;
  command.line = &line;
  command.state = state;
  if (state == CommandState::acknowledged) {
    line.running.push_back(&command);
    return command;
  }
  const auto older = [](const OpenCommand* a, const OpenCommand* b) { return a->id < b->id; };
  line.waiting.insert(std::ranges::upper_bound(line.waiting, &command, older), &command);
  return command;
}

void CommandBook::set_state(OpenCommand& command, CommandState state) {
  if (state <= command.state) return;
  DeviceLine& line = *command.line;
  if (command.state == CommandState::queued) {
    command.begun = {};
    command.maybe_sent = false;
  }
  command.state = state;
  if (state == CommandState::acknowledged) {
    std::erase(line.waiting, &command);
    line.running.push_back(&command);
  }
}

void CommandBook::erase(OpenCommand& command) {
  DeviceLine& line = *command.line;
  if (std::erase(line.running, &command) == 0) std::erase(line.waiting, &command);
  if (line.handing == &command) line.handing = nullptr;
  open_.erase(std::string(command.id));
}

std::size_t CommandBook::in_flight(const DeviceLine& line) noexcept {
  return static_cast<std::size_t>(std::ranges::count_if(line.waiting, [&](const OpenCommand* command) {
    return command->state == CommandState::sent && command->epoch == line.epoch;
  }));
}

OpenCommand* CommandBook::next(const DeviceLine& line, Monotonic now, std::size_t window) noexcept {
  const bool room = in_flight(line) < window;
  for (OpenCommand* command : line.waiting) {
    if (command->out()) {
      const bool here = command->epoch == line.epoch && !command->maybe_sent;
      if (command->at_most_once || command->cancel_wanted || command->unwritten || now >= command->timeout_at ||
          command->refused_epoch == line.epoch || (here && now < command->resend_at)) {
        continue;
      }
      return here || room ? command : nullptr;
    }
    if (now >= command->expires_at) continue;
    // What waits for the store is not overtaken.
    return room && !command->unwritten ? command : nullptr;
  }
  return nullptr;
}

}  // namespace fieldgate::control
