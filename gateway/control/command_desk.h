// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/command_book.h"
#include "gateway/control/command_waiters.h"
#include "gateway/control/device_inbox.h"
#include "gateway/control/journal_lane.h"
#include "gateway/control/links.h"
#include "gateway/control/nudge_box.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/settings.h"
#include "gateway/core/timer_wheel.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
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
// Of several nodes on one store, the one that a device is connected to has its open
// commands in memory, read from the ledger as it connects, and hands them over. One that
// takes a command for a device elsewhere writes it down and nudges that node; the news come
// back the same way. Nudges may be lost: every node walks what is open, a portion a second,
// for commands of its devices that it does not have, or does not know to be wished cancelled,
// and reads those again that are waited for here. What is overdue is ended by whoever sees it
// first. Where two would write, the ledger takes one (CommandAdvance::while_handed_to); who has
// written a step tells the sinks and the timeline of it, nobody else. docs/adr/0013 has the
// reasons.
//
// Thread:  Commands and devices_changed() any. The rest: the store's, or before that starts.
// Borrows: worker, clock, log and what is linked, which outlive this; this outlives the
//          threads of the worker and the downlink.
// Bounds:  queued_per_device_max, open_max (both may be passed by as many as there are nodes),
//          CommandWaiters::k_max. Memory per open command of a connected device is its id and
//          times; payloads stay in the store.
// Errors:  a store that is not there begins nothing: no send, no timeout, no expiry; each
//          is made up for when it is back.
class CommandDesk final : public Commands, public JournalSink {
 public:
  static constexpr std::chrono::milliseconds k_tick{100};
  // How long a command with ttl 0 may be queued if the device is online.
  static constexpr std::chrono::milliseconds k_no_wait{2'000};
  static constexpr std::size_t k_page = 200;
  static constexpr std::size_t k_writes_max = 1'024;     // steps on their way to the store at once
  static constexpr std::size_t k_look_devices = 64;      // looked at in one transaction
  static constexpr std::size_t k_look_commands = 2'000;  // after which it ends
  static constexpr std::chrono::milliseconds k_round{1'000};
  static constexpr std::size_t k_round_refs = 500;
  static constexpr std::size_t k_round_waiters = 200;
  static constexpr std::size_t k_askers_max = 8;  // per device
  static constexpr const char* k_as_wished = "as was wished, before it was sent";

  // `commands_kept`: how long after their end.
  CommandDesk(StoreWorker& worker, const Clock& clock, Log& log, const CommandSettings& settings,
              std::chrono::seconds commands_kept);
  ~CommandDesk() override;

  // Counts what is open; waits. After the worker's open(), before its start().
  void start(ControlLinks links);
  const CommandProbe& probe() const noexcept { return probe_; }
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
  struct Look;        // what the ledger has open for some devices
  struct Round;       // what is overdue, and what was missed

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
  static std::string timed_out_detail(bool maybe_sent, std::int64_t timeout_ms);
  void store_is_back();
  OpenCommand& adopt(const CommandEntry& entry);
  void take_over(OpenCommand& command, const CommandEntry& entry) const;
  void follow(const CommandEntry& entry, bool ours);
  void catch_up(const CommandEntry& entry, bool ours);
  void absorb(const CommandEntry& entry, bool ours);
  void let_go(DeviceLine& line);
  void forget(const std::string& id);
  void ended(OpenCommand& command, const Result<CommandEntry>& outcome);
  void tell(const CommandEntry& entry);
  void count(const CommandEntry& entry);
  void write(OpenCommand& command, CommandState state, Epoch epoch, std::string detail, bool sent = false);
  void flush(OpenCommand& command);
  void flush_more();
  void file(OpenCommand& command);
  void tick();
  void due(OpenCommand& command);
  void expire(OpenCommand& command);
  void trim();
  Monotonic at(std::int64_t unix_ms) const;
  std::uint32_t tick_of(Monotonic when) const;

  // command_fleet.cc: what other nodes, or earlier ones, have left in the ledger.
  void look(DeviceLine& line);
  void look_next();
  void look_again(std::span<const DeviceId> devices);
  Result<void> look_in(DeviceStore& store, Look& job);
  void looked(Look& job, const Result<void>& outcome);
  void round();
  Result<void> round_in(DeviceStore& store, Round& job);
  std::optional<CommandAdvance> overdue(const CommandEntry& entry) const;
  void rounded(Round& job, const Result<void>& outcome);
  void read_again(std::vector<std::string> ids);
  void nudged(const NudgeBox::Nudges& devices);
  void news(const NudgeBox::Nudges& ids);

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
  void heed_wish(OpenCommand& command, std::string detail);
  void ask_to_cancel(OpenCommand& command);
  void retry_later(DeviceLine& line);

  StoreWorker& worker_;
  const CommandSettings settings_;
  const std::chrono::seconds commands_kept_;
  const Clock& clock_;
  Log& log_;
  const Monotonic started_;
  ControlLinks links_;

  CommandProbe probe_;
  CommandBook book_;
  TimerWheel commands_wheel_{0};
  TimerWheel lines_wheel_{0};
  CommandWaiters waiters_{0};
  std::size_t open_ = 0;               // in the ledger, as counted last, and those that came and went since
  std::size_t writes_ = 0;             // on their way
  std::deque<std::string> unflushed_;  // ids of those that wait for one of these
  std::deque<DeviceId> to_look_;
  std::unordered_set<DeviceId> look_wanted_;   // the same
  std::size_t look_devices_ = k_look_devices;  // one, if it could not be read
  bool looking_ = false;
  Monotonic look_at_;  // not before, if it could not be read
  bool rounding_ = false;
  Monotonic round_at_;
  CommandDue overdue_after_;   // what was overdue up to there was looked at
  std::string round_after_;    // an id: what is open up to there was walked
  std::string waiters_after_;  // the same of those that are waited for
  Monotonic trim_at_;
  // What devices said that is news, or was in the ledger already, as after a commit of which nobody knows.
  std::vector<std::pair<CommandEntry, bool>> journalled_;
  DeviceInbox inbox_;
  NudgeBox looks_;
  NudgeBox news_;
};

}  // namespace fieldgate::control
