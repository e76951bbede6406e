// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/command.h"
#include "gateway/core/ids.h"
#include "gateway/core/timer_wheel.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/device_store.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace fieldgate::control {

struct DeviceLine;

// What the desk keeps of a command that has not ended: not its payload, which is read
// from the ledger when it is sent.
struct OpenCommand : TimerNode {
  std::string id;
  DeviceLine* line = nullptr;
  bool at_most_once = false;
  bool no_wait = false;  // its caller wants it sent at once or not at all
  std::uint32_t timeout_ms = 0;
  Monotonic expires_at;

  // As the ledger has it or, while `unwritten` waits for the store, is about to.
  CommandState state = CommandState::queued;
  std::size_t steps = 0;  // of the ledger's, those that were told
  bool cancel_wanted = false;
  Epoch begun{};                            // queued, and the ledger says that it is being handed to that connection
  Epoch tried{};                            // the same, but whether the ledger took that is not known
  bool maybe_sent = false;                  // that is another process's affair, or was: a device may have it
  Epoch epoch{};                            // it was last handed to
  Epoch refused_epoch{};                    // whose connection cannot take it, although an earlier one could
  Monotonic timeout_at = Monotonic::max();  // set once it was, or may have been, sent
  Monotonic resend_at = Monotonic::max();

  std::optional<CommandAdvance> unwritten;
  bool writing = false;  // a job with `unwritten` is on its way
  Monotonic write_at;    // not before: the store did not take it

  // True if a device has it, or may have.
  bool out() const noexcept { return state != CommandState::queued || maybe_sent; }
};

// The open commands of one device, if it is connected here: else those of which something
// is still to be written.
// There is one for each device that is connected here, so it is kept small.
struct DeviceLine : TimerNode {
  const DeviceId* device = nullptr;  // the book's
  Epoch epoch{};
  bool online = false;
  bool known = false;                 // all that the ledger has open for this connection is here
  std::vector<OpenCommand*> waiting;  // queued and sent ones, by id: oldest first
  std::vector<OpenCommand*> running;  // acknowledged ones
  std::vector<std::string> askers;    // nodes that want to hear when one of them ends
  OpenCommand* handing = nullptr;     // read from the ledger, or with the downlink
  Monotonic retry_at;                 // nothing is handed over before
  std::chrono::milliseconds backoff{0};

  bool empty() const noexcept { return waiting.empty() && running.empty(); }
};

// Commands that have not ended, by id and by device, in order.
// Thread: one.
// Owns:   all of it. Pointers hold until erase(), those to lines while a device is
//         online or has commands.
class CommandBook {
 public:
  OpenCommand* find(const std::string& id);
  bool has(const std::string& id) const { return open_.contains(id); }
  DeviceLine* line(const DeviceId& device);
  DeviceLine& make_line(const DeviceId& device);
  // Drops the line if nothing is in it and the device is not online.
  void tidy(DeviceLine& line);

  // Precondition: no command of that id is here.
  OpenCommand& add(const std::string& id, const DeviceId& device, CommandState state);
  // Moves it on; never back.
  void set_state(OpenCommand& command, CommandState state);
  void erase(OpenCommand& command);

  // Of `line`: handed to the present connection and not acknowledged.
  static std::size_t in_flight(const DeviceLine& line) noexcept;
  // What is to be handed to the present connection next, if anything may: in order, at
  // most `window` in flight.
  static OpenCommand* next(const DeviceLine& line, Monotonic now, std::size_t window) noexcept;

  // `visit` adds and erases nothing.
  template <class Visit>
  void each(Visit&& visit) {
    for (auto& [id, command] : open_) visit(command);
  }
  template <class Visit>
  void each_line(Visit&& visit) {
    for (auto& [device, line] : lines_) visit(line);
  }

 private:
  std::unordered_map<std::string, OpenCommand> open_;
  std::unordered_map<DeviceId, DeviceLine> lines_;
};

}  // namespace fieldgate::control
