// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/command_book.h"
#include "gateway/control/command_waiters.h"
#include "gateway/control/device_inbox.h"
#include "gateway/control/journal_lane.h"
#include "gateway/control/links.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/settings.h"
#include "gateway/core/timer_wheel.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/log.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace fieldgate::control {

// Commands to devices, by way of the ledger in the store.
//
// Nothing is handed to a connection before the ledger says so: a step `queued` with the
// connection's epoch. What came of it is the next step:
//   sent      the connection took it
//   queued    (no epoch) there was none any more: it is tried again at the next
//   rejected  the device cannot take it
// A process that ends in between leaves the first of them as the last, and the next one
// takes it for what it is: perhaps sent. An ordinary command is then sent again, by the
// same id, as any other that has no CommandAck: at the device's next connection, and on a
// live one after resend_after. One that is at_most_once never is: it ends by what the
// device says of it, or as timed_out. So nothing is expired ("never sent") or cancelled
// by us that a device may have. One whose cancelling is wished is not sent again either;
// the wish is, once per connection.
//
// Per device, commands are handed over one after the other, in the order of their ids,
// at most in_flight_per_device without CommandAck. What the device says comes through
// the journal. The ledger alone decides which step may follow which; this follows it.
//
// Thread:  Commands and devices_changed() any. The rest: the store's, or before that starts.
// Borrows: worker, clock, log and what is linked, which outlive this; this outlives the
//          threads of the worker and the downlink.
// Bounds:  queued_per_device_max, open_max, CommandWaiters::k_max. Memory per open
//          command is its id and times; payloads stay in the store.
// Errors:  a store that is not there begins nothing: no send, no timeout, no expiry; each
//          is made up for when it is back.
class CommandDesk final : public Commands, public JournalSink {
 public:
  static constexpr std::chrono::milliseconds k_tick{100};
  // How long a command with ttl 0 may be queued if the device is online.
  static constexpr std::chrono::milliseconds k_no_wait{2'000};
  static constexpr std::size_t k_page = 200;

  // `commands_kept`: how long after their end.
  CommandDesk(StoreWorker& worker, const Clock& clock, Log& log, const CommandSettings& settings,
              std::chrono::seconds commands_kept);
  ~CommandDesk() override;

  // Takes up the commands that the ledger has open; waits. After the worker's open(), before
  // its start(); where the store is not there yet, it is done once it is.
  void start(ControlLinks links);
  // In order per device; an older epoch than was heard of is passed over.
  void devices_changed(std::span<const DeviceSummary> devices);

  void submit(CommandRequest request, Reply<Accepted> reply) override;
  void get(const std::string& id, Reply<CommandEntry> reply) override;
  void wait(const std::string& id, std::chrono::milliseconds patience, Reply<CommandEntry> reply) override;
  void list(const DeviceId& device, std::string before, std::size_t limit,
            Reply<std::vector<CommandEntry>> reply) override;
  void cancel(const std::string& id, std::string by, Reply<CommandEntry> reply) override;

  void begin() override { journalled_.clear(); }
  Result<void> apply(DeviceStore& store, const JournalRecord& record) override;
  void committed() override;

 private:
  struct Intake;      // a command on its way into the ledger
  struct Cancelling;  // the wish that one be cancelled
  struct HandOver;    // a command on its way to the downlink

  // command_desk.cc: what callers want.
  template <class T>
  void ask(Reply<T> reply, std::function<Result<T>(DeviceStore&)> look);
  template <class T>
  void refuse(Reply<T> reply, Error error = make_error(Errc::unavailable, "too much waits for the store: try later"));
  Result<CommandEntry> checked(CommandRequest request) const;
  Result<void> insert(DeviceStore& store, Intake& intake);
  static Result<void> if_repeated(DeviceStore& store, Intake& intake, std::string full);
  void inserted(Intake& intake, const Result<void>& outcome, const Reply<Accepted>& reply);
  Result<void> cancel_in(DeviceStore& store, Cancelling& job) const;
  void cancelled(const Cancelling& job, const Result<void>& outcome, const Reply<CommandEntry>& reply);

  // command_ledger.cc: memory follows the ledger.
  // True if no connection has it: of a queued one, that no handing over is under way.
  static bool is_not_handed_over(const CommandEntry& entry) noexcept;
  void store_is_back();
  void load();
  void load_page(std::string after);
  void take_page(const std::vector<CommandEntry>& page);
  void loaded();
  OpenCommand& adopt(const CommandEntry& entry);
  void take_over(OpenCommand& command, const CommandEntry& entry) const;
  void absorb(const CommandEntry& entry);
  void forget(const std::string& id);
  void ended(OpenCommand& command, const Result<CommandEntry>& outcome);
  void tell(const CommandEntry& entry, std::size_t steps_told);
  void write(OpenCommand& command, CommandState state, Epoch epoch, std::string detail, bool sent = false);
  void flush(OpenCommand& command);
  void file(OpenCommand& command);
  void tick();
  void due(OpenCommand& command);
  void expire(OpenCommand& command);
  void trim();
  Monotonic at(std::int64_t unix_ms) const;
  std::uint32_t tick_of(Monotonic when) const;

  // command_sending.cc: devices.
  void heard(const DeviceInbox::Words& words);
  void pump(DeviceLine& line);
  void prepare(DeviceLine& line, OpenCommand& command);
  void prepared(HandOver& job, const Result<void>& outcome);
  void hand_over(DeviceLine& line, OpenCommand& command, CommandEntry entry);
  void answered(const std::string& id, Delivery delivery, Epoch epoch);
  void taken(OpenCommand& command, Epoch epoch);
  void not_taken(OpenCommand& command);
  void cannot_take(OpenCommand& command, std::string detail);
  void ask_to_cancel(OpenCommand& command);
  void retry_later(DeviceLine& line);

  StoreWorker& worker_;
  const CommandSettings settings_;
  const std::chrono::seconds commands_kept_;
  const Clock& clock_;
  Log& log_;
  const Monotonic started_;
  ControlLinks links_;

  CommandBook book_;
  TimerWheel commands_wheel_{0};
  TimerWheel lines_wheel_{0};
  CommandWaiters waiters_{0};
  // Counted as if they were in the book: jobs of one transaction do not see each other there.
  std::unordered_map<DeviceId, std::size_t> coming_in_;
  std::size_t coming_in_all_ = 0;
  bool loaded_ = false;
  bool load_wanted_ = true;  // there may be open commands in the ledger that are not here
  bool loading_ = false;
  Monotonic load_at_;  // not before, if it could not be read
  Monotonic trim_at_;
  std::vector<CommandEntry> journalled_;
  DeviceInbox inbox_;
};

}  // namespace fieldgate::control
