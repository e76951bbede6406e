// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/command_desk.h"

#include "gateway/control/command_id.h"
#include "gateway/control/plain_text.h"
#include "gateway/control/tell_owner.h"
#include "gateway/core/error.h"

#include <algorithm>
#include <string>
#include <utility>

namespace fieldgate::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t k_source_bytes_max = 256;
constexpr std::size_t k_topic_bytes_max = 1'024;
constexpr std::size_t k_correlation_bytes_max = 1'024;
constexpr std::size_t k_peer_id_bytes_max = 128;  // of devices and commands

std::string too_many_bytes(std::string_view what, std::size_t is, std::size_t max) {
  return std::string(what) + " has " + std::to_string(is) + " bytes; at most " + std::to_string(max) + " are taken";
}

Error not_known(const std::string& id) { return make_error(Errc::not_found, "there is no command " + id); }

bool is_same_request(const CommandEntry& a, const CommandEntry& b) {
  // A broker takes what a message has waited there off its expiry (MQTT 5.0 section
  // 3.3.2.3.3), so that of a repetition is another one.
  const bool same_ttl =
      b.source.starts_with("mqtt:") || a.expires_unix_ms - a.created_unix_ms == b.expires_unix_ms - b.created_unix_ms;
  return a.name == b.name && a.payload == b.payload && a.timeout_ms == b.timeout_ms &&
         a.at_most_once == b.at_most_once && same_ttl;
}

}  // namespace

struct CommandDesk::Intake {
  CommandEntry wanted;
  bool no_wait = false;
  bool counted = false;  // in open_
  // Set anew by each run of the job.
  std::optional<DeviceStore::Inserted> inserted;
  std::optional<Error> problem;
};

struct CommandDesk::Cancelling {
  std::string id;
  std::string by;
  // Set anew by each run of the job.
  std::optional<CommandEntry> entry;
  std::optional<Error> problem;
};

CommandDesk::CommandDesk(StoreWorker& worker, const Clock& clock, Log& log, const CommandSettings& settings,
                         seconds commands_kept)
    : worker_(worker),
      settings_(settings),
      commands_kept_(commands_kept),
      clock_(clock),
      log_(log),
      started_(clock.now()),
      look_at_(started_),
      round_at_(started_),
      trim_at_(started_),
      inbox_(worker, [this](const DeviceInbox::Words& words) { heard(words); }),
      looks_(worker, [this](const NudgeBox::Nudges& devices) { nudged(devices); }),
      news_(worker, [this](const NudgeBox::Nudges& ids) { news(ids); }) {}

void CommandDesk::start(ControlLinks links) {
  links_ = std::move(links);
  worker_.on_available([this] { store_is_back(); });
  worker_.after(k_tick, [this] { tick(); });
  // What is not counted now, for the store is away, is with the first round.
  static_cast<void>(worker_.run_now([this](DeviceStore& store) -> Result<void> {
    const auto open = store.open_command_count();
    if (!open) return open.error();
    open_ = *open;
    return {};
  }));
  if (links_.peers == nullptr) return;
  const auto takes = [this](std::string_view kind, NudgeBox& box) {
    links_.peers->serve(kind, [&box](PeerMessage message, const Peers::Answer& answer) {
      if (message.body.size() <= k_peer_id_bytes_max) box.nudge(std::move(message.body), std::move(message.from));
      if (answer) answer(make_error(Errc::unsupported, "this is not a question"));
    });
  };
  takes(k_peer_command_look, looks_);
  takes(k_peer_command_news, news_);
}

CommandDesk::~CommandDesk() = default;

void CommandDesk::devices_changed(std::span<const DeviceSummary> devices) { inbox_.changed(devices); }

template <class T>
void CommandDesk::ask(Reply<T> reply, std::function<Result<T>(DeviceStore&)> look) {
  auto found = std::make_shared<Result<T>>(make_error(Errc::internal, "not looked for"));
  const bool taken = worker_.submit(
      [found, look = std::move(look)](DeviceStore& store) -> Result<void> {
        *found = look(store);
        if (found->has_error())
          return found->error();  // after any of the store's errors nothing but a rollback will do
        return {};
      },
      [found, reply](const Result<void>& outcome) { reply(outcome ? std::move(*found) : Result<T>(outcome.error())); });
  if (!taken) refuse(std::move(reply));
}

template <class T>
void CommandDesk::refuse(Reply<T> reply, Error error) {
  worker_.post([reply = std::move(reply), error = std::move(error)] { reply(error); });
}

// --- submit

Result<CommandEntry> CommandDesk::checked(CommandRequest request) const {
  const auto wrong = [](std::string detail) { return make_error(Errc::invalid_argument, std::move(detail)); };
  if (!is_valid_name(request.name)) {
    return wrong("name: 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':' and '-', beginning with a letter or a digit");
  }
  if (request.payload.size() > settings_.payload_bytes_max) {
    return make_error(Errc::too_large, too_many_bytes("payload", request.payload.size(), settings_.payload_bytes_max));
  }
  const milliseconds timeout = request.timeout.value_or(settings_.timeout);
  if (timeout < milliseconds(1) || timeout > settings_.timeout_max) {
    return wrong("timeout: 1 ms to " + std::to_string(settings_.timeout_max.count()) + " s");
  }
  const milliseconds ttl = request.ttl.value_or(settings_.ttl);
  if (ttl < milliseconds(0) || ttl > settings_.ttl_max) {
    return wrong("ttl: 0 to " + std::to_string(settings_.ttl_max.count()) + " s");
  }
  if (request.idempotency_key.size() > k_idempotency_key_bytes_max) {
    return wrong(too_many_bytes("idempotency key", request.idempotency_key.size(), k_idempotency_key_bytes_max));
  }
  if (!is_plain_text(request.idempotency_key)) return wrong("idempotency key: UTF-8 without control characters");
  if (request.response_topic.size() > k_topic_bytes_max) {
    return wrong(too_many_bytes("response topic", request.response_topic.size(), k_topic_bytes_max));
  }
  if (request.correlation_data.size() > k_correlation_bytes_max) {
    return wrong(too_many_bytes("correlation data", request.correlation_data.size(), k_correlation_bytes_max));
  }
  request.source.resize(std::min(request.source.size(), k_source_bytes_max));
  const std::int64_t now = clock_.unix_ms();
  CommandEntry entry{.id = make_command_id(now), .device = std::move(request.device), .name = std::move(request.name)};
  entry.payload = std::move(request.payload);
  entry.created_unix_ms = now;
  entry.expires_unix_ms = now + (ttl.count() == 0 ? k_no_wait : ttl).count();
  entry.timeout_ms = static_cast<std::uint32_t>(timeout.count());
  entry.at_most_once = request.at_most_once;
  entry.idempotency_key = std::move(request.idempotency_key);
  entry.source = std::move(request.source);
  entry.response_topic = std::move(request.response_topic);
  entry.correlation_data = std::move(request.correlation_data);
  entry.steps.push_back({CommandState::queued, now});
  return entry;
}

void CommandDesk::submit(CommandRequest request, Reply<Accepted> reply) {
  const bool no_wait = request.ttl == milliseconds(0);
  auto entry = checked(std::move(request));
  if (!entry) return refuse(std::move(reply), entry.error());
  auto intake = std::make_shared<Intake>(Intake{std::move(*entry), no_wait, false, {}, {}});
  const bool taken =
      worker_.submit([this, intake](DeviceStore& store) { return insert(store, *intake); },
                     [this, intake, reply](const Result<void>& outcome) { inserted(*intake, outcome, reply); });
  if (!taken) refuse(std::move(reply));
}

Result<void> CommandDesk::insert(DeviceStore& store, Intake& intake) {
  intake.inserted.reset();
  intake.problem.reset();
  const CommandEntry& wanted = intake.wanted;
  const auto device = store.device(wanted.device);
  if (!device) return device.error();
  if (!device->has_value()) {
    intake.problem = make_error(Errc::not_found, "no such device is registered: " + wanted.device.str());
    return {};
  }
  const auto queued = store.queued_commands(wanted.device);
  if (!queued) return queued.error();
  if (*queued >= settings_.queued_per_device_max) {
    return if_repeated(store, intake,
                       "the device has " + std::to_string(*queued) + " commands queued, as many as it may have");
  }
  if (!intake.counted && open_ >= settings_.open_max) {
    return if_repeated(store, intake,
                       "as many commands are open as there may be: " + std::to_string(settings_.open_max));
  }
  auto inserted = store.insert_command(wanted);
  if (!inserted) return inserted.error();
  if (inserted->fresh && !intake.counted) {
    intake.counted = true;
    ++open_;
  }
  intake.inserted = std::move(*inserted);
  return {};
}

// There is no room for a new one; but this may be one that is there already. It is
// looked for among the newest of the device.
Result<void> CommandDesk::if_repeated(DeviceStore& store, Intake& intake, std::string full) {
  if (!intake.wanted.idempotency_key.empty()) {
    auto newest = store.commands(intake.wanted.device, {}, k_page);
    if (!newest) return newest.error();
    for (CommandEntry& entry : *newest) {
      if (entry.idempotency_key != intake.wanted.idempotency_key) continue;
      intake.inserted = DeviceStore::Inserted{std::move(entry), false};
      return {};
    }
  }
  intake.problem = make_error(Errc::full, std::move(full));
  return {};
}

void CommandDesk::inserted(Intake& intake, const Result<void>& outcome, const Reply<Accepted>& reply) {
  const bool kept = outcome && !intake.problem && intake.inserted->fresh;
  if (intake.counted && !kept && open_ > 0) --open_;
  if (!outcome) return reply(outcome.error());
  if (intake.problem) return reply(*intake.problem);
  const CommandEntry& entry = intake.inserted->command;
  if (!intake.inserted->fresh) {
    if (is_same_request(entry, intake.wanted)) return reply(Accepted{entry, false});
    return reply(make_error(Errc::conflict, "the idempotency key stands for another request, command " + entry.id));
  }
  tell(entry);
  const bool here = book_.line(entry.device) != nullptr && book_.line(entry.device)->online;
  reply(Accepted{entry, true});
  if (here) {
    OpenCommand& command = adopt(entry);
    command.no_wait = intake.no_wait;
    return pump(*command.line);
  }
  tell_owner(worker_, links_, k_peer_command_look, entry.device, [this, entry, no_wait = intake.no_wait] {
    if (!no_wait || book_.find(entry.id) != nullptr) return;
    OpenCommand& command = adopt(entry);
    command.no_wait = true;
    expire(command);
  });
}

// --- get, wait, list, cancel

void CommandDesk::get(const std::string& id, Reply<CommandEntry> reply) {
  ask<CommandEntry>(std::move(reply), [id](DeviceStore& store) -> Result<CommandEntry> {
    auto entry = store.command(id);
    if (!entry) return entry.error();
    if (!entry->has_value()) return not_known(id);
    return std::move(**entry);
  });
}

void CommandDesk::list(const DeviceId& device, std::string before, std::size_t limit,
                       Reply<std::vector<CommandEntry>> reply) {
  ask<std::vector<CommandEntry>>(std::move(reply), [device, before = std::move(before), limit](DeviceStore& store) {
    return store.commands(device, before, limit);
  });
}

void CommandDesk::wait(const std::string& id, milliseconds patience, Reply<CommandEntry> reply) {
  const Monotonic until = clock_.now() + patience;
  get(id, [this, id, until, reply = std::move(reply)](Result<CommandEntry> entry) {
    if (!entry || is_final(entry->state) || clock_.now() >= until) return reply(std::move(entry));
    if (waiters_.full()) {
      return reply(make_error(Errc::full, "too many wait for commands already: ask for this one again later"));
    }
    waiters_.add(id, tick_of(until), reply);
  });
}

void CommandDesk::cancel(const std::string& id, std::string by, Reply<CommandEntry> reply) {
  auto job = std::make_shared<Cancelling>(Cancelling{id, std::move(by), {}, {}});
  const bool taken =
      worker_.submit([this, job](DeviceStore& store) { return cancel_in(store, *job); },
                     [this, job, reply](const Result<void>& outcome) { cancelled(*job, outcome, reply); });
  if (!taken) refuse(std::move(reply));
}

Result<void> CommandDesk::cancel_in(DeviceStore& store, Cancelling& job) const {
  job.entry.reset();
  job.problem.reset();
  auto entry = store.command(job.id);
  if (!entry) return entry.error();
  if (!entry->has_value()) {
    job.problem = not_known(job.id);
    return {};
  }
  if (is_final((*entry)->state)) {
    job.problem =
        make_error(Errc::conflict, "the command has ended already: " + std::string(to_string((*entry)->state)));
    return {};
  }
  CommandAdvance cancelled{.id = job.id};
  cancelled.step = {CommandState::cancelled, clock_.unix_ms(), {}, "by " + job.by + ", before it was sent"};
  cancelled.while_handed_to = Epoch{};
  CommandAdvance wish{.id = job.id};
  wish.cancel_wanted = true;
  for (const CommandAdvance* advance : {&cancelled, &wish}) {
    auto advanced = store.advance_command(*advance);
    if (!advanced) return advanced.error();
    if (!advanced->has_value()) continue;
    job.entry = std::move(**advanced);
    return {};
  }
  job.problem = make_error(Errc::conflict, "the command has just ended");
  return {};
}

void CommandDesk::cancelled(const Cancelling& job, const Result<void>& outcome, const Reply<CommandEntry>& reply) {
  if (!outcome) return reply(outcome.error());
  if (job.problem) return reply(*job.problem);
  if (book_.find(job.id) != nullptr) {
    absorb(*job.entry, true);
  } else {
    follow(*job.entry, true);
  }
  reply(*job.entry);
  OpenCommand* command = book_.find(job.id);
  if (command == nullptr) {
    if (!is_final(job.entry->state)) tell_owner(worker_, links_, k_peer_command_look, job.entry->device, [] {});
    return;
  }
  heed_wish(*command, "by " + job.by + ", before it was sent");
}

}  // namespace fieldgate::control
