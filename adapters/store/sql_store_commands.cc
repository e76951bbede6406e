// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/codec.h"
#include "adapters/store/sql_store.h"
#include "adapters/store/statements.h"

#include <limits>
#include <utility>

#define FIELDGATE_COMMAND_COLUMNS                                                                               \
  "id, device_id, name, payload, created_unix_ms, expires_unix_ms, timeout_ms, at_most_once, idempotency_key, " \
  "source, "                                                                                                    \
  "response_topic, correlation_data, state, steps, sends, first_sent_unix_ms, cancel_wanted, result_text, "     \
  "result_payload"

// The same without payloads, which may be large.
#define FIELDGATE_COMMAND_OUTLINE                                                                            \
  "id, device_id, name, substr(payload, 1, 0), created_unix_ms, expires_unix_ms, timeout_ms, at_most_once, " \
  "idempotency_key, source, response_topic, correlation_data, state, steps, sends, first_sent_unix_ms, "     \
  "cancel_wanted, result_text, substr(result_payload, 1, 0)"

// As the index commands_due has it.
#define FIELDGATE_COMMAND_DUE \
  "(CASE WHEN first_sent_unix_ms > 0 THEN first_sent_unix_ms + timeout_ms ELSE expires_unix_ms END)"

namespace fieldgate::store {

const Statement k_open_commands{"SELECT " FIELDGATE_COMMAND_OUTLINE
                                " FROM commands WHERE ended_unix_ms = 0 AND device_id = $1 AND id > $2 "
                                "ORDER BY id LIMIT $3"};
const Statement k_open_refs{
    "SELECT id, device_id, cancel_wanted FROM commands WHERE ended_unix_ms = 0 AND id > $1 ORDER BY id LIMIT $2"};
const Statement k_overdue_commands{"SELECT " FIELDGATE_COMMAND_OUTLINE
                                   " FROM commands WHERE ended_unix_ms = 0 AND " FIELDGATE_COMMAND_DUE
                                   " <= $1 AND " FIELDGATE_COMMAND_DUE " >= $2 AND (" FIELDGATE_COMMAND_DUE
                                   " > $2 OR id > $3) ORDER BY " FIELDGATE_COMMAND_DUE ", id LIMIT $4"};
const Statement k_queued_commands{
    "SELECT COUNT(*) FROM commands WHERE ended_unix_ms = 0 AND device_id = $1 AND state = 'queued'"};
const Statement k_device_commands{"SELECT " FIELDGATE_COMMAND_COLUMNS
                                  " FROM commands WHERE device_id = $1 AND number < $2 "
                                  "ORDER BY number DESC LIMIT $3"};
const Statement k_command_by_key{"SELECT " FIELDGATE_COMMAND_COLUMNS
                                 " FROM commands WHERE device_id = $1 AND idempotency_key = $2 "
                                 "AND length(idempotency_key) > 0"};
const Statement k_trim_commands{
    "DELETE FROM commands WHERE number IN (SELECT number FROM commands "
    "WHERE ended_unix_ms > 0 AND ended_unix_ms < $1 ORDER BY ended_unix_ms LIMIT $2)"};

namespace {

constexpr Statement k_command{"SELECT " FIELDGATE_COMMAND_COLUMNS " FROM commands WHERE id = $1"};
constexpr Statement k_command_outline{"SELECT " FIELDGATE_COMMAND_OUTLINE " FROM commands WHERE id = $1"};
constexpr Statement k_command_locked{"SELECT " FIELDGATE_COMMAND_COLUMNS " FROM commands WHERE id = $1", true};
constexpr Statement k_open_count{"SELECT COUNT(*) FROM commands WHERE ended_unix_ms = 0"};
constexpr Statement k_number{"SELECT number FROM commands WHERE id = $1"};
constexpr Statement k_insert{
    "INSERT INTO commands (" FIELDGATE_COMMAND_COLUMNS
    ", ended_unix_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, "
    "$20) ON CONFLICT DO NOTHING RETURNING number"};
constexpr Statement k_advance{
    "UPDATE commands SET state = $2, steps = $3, sends = $4, first_sent_unix_ms = $5, cancel_wanted = $6, "
    "result_text = $7, result_payload = $8, ended_unix_ms = $9 WHERE id = $1"};
// Repeats are all kept until there is just room left for what can still come: sent,
// acknowledged, timed out, and a late result. Of those after that, the last.
constexpr std::size_t k_repeats_end = k_command_steps_max - 4;

// Of the last step of a final command; never 0 for one.
std::int64_t ended_at(const CommandEntry& command) {
  if (!is_final(command.state)) return 0;
  const std::int64_t at = command.steps.empty() ? command.created_unix_ms : command.steps.back().unix_ms;
  return at > 0 ? at : 1;
}

Result<CommandEntry> read_command(const RowView& row) {
  auto device = decode_device(row.text(1));
  if (!device) return device.error();
  const auto state = decode_state(row.text(12));
  if (!state) return state.error();
  auto steps = decode_steps(row.text(13));
  if (!steps) return steps.error();
  const auto bytes = [&](int column) {
    const auto found = row.bytes(column);
    return std::vector<std::byte>(found.begin(), found.end());
  };
  return CommandEntry{.id = row.string(0),
                      .device = std::move(*device),
                      .name = row.string(2),
                      .payload = bytes(3),
                      .created_unix_ms = row.integer(4),
                      .expires_unix_ms = row.integer(5),
                      .timeout_ms = static_cast<std::uint32_t>(row.integer(6)),
                      .at_most_once = row.flag(7),
                      .idempotency_key = as_string(row.bytes(8)),
                      .source = row.string(9),
                      .response_topic = row.string(10),
                      .correlation_data = as_string(row.bytes(11)),
                      .state = *state,
                      .steps = std::move(*steps),
                      .sends = static_cast<std::uint32_t>(row.integer(14)),
                      .first_sent_unix_ms = row.integer(15),
                      .cancel_wanted = row.flag(16),
                      .result_text = row.string(17),
                      .result_payload = bytes(18)};
}

bool is_handed_to(const CommandEntry& command, Epoch epoch) {
  return command.state == CommandState::queued &&
         (command.steps.empty() ? Epoch{} : command.steps.back().epoch) == epoch;
}

// False: may_follow() does not allow it, or the condition does not hold.
bool take_step(CommandEntry& command, const CommandAdvance& advance) {
  if (advance.while_handed_to && !is_handed_to(command, *advance.while_handed_to)) return false;
  if (advance.cancel_wanted) {
    if (is_final(command.state)) return false;
    command.cancel_wanted = true;
    return true;
  }
  if (!may_follow(command.state, advance.step.state)) return false;
  const bool repeated = command.state == advance.step.state;
  if (repeated && command.steps.size() >= k_repeats_end) command.steps.pop_back();
  command.steps.push_back(advance.step);
  command.steps.back().detail = clean_text(advance.step.detail);
  command.state = advance.step.state;
  if (advance.sent_again) {
    if (command.sends++ == 0) command.first_sent_unix_ms = advance.step.unix_ms;
  }
  if (!advance.result_text.empty()) command.result_text = clean_text(advance.result_text);
  if (!advance.result_payload.empty()) command.result_payload = advance.result_payload;
  return true;
}

}  // namespace

Result<SqlStore::Inserted> SqlStore::insert_command(const CommandEntry& command) {
  return atomically([&]() -> Result<Inserted> {
    const auto id = key_text(command.id, "a command's id");
    const auto name = key_text(command.name, "a command's name");
    const auto topic = key_text(command.response_topic, "a response topic");
    for (const auto* text : {&id, &name, &topic}) {
      if (!*text) return text->error();
    }
    const std::string steps = encode_steps(command.steps);
    const std::string source = clean_text(command.source);
    const std::string result_text = clean_text(command.result_text);
    const auto inserted = run(k_insert, {*id,
                                         command.device.str(),
                                         *name,
                                         std::span(command.payload),
                                         command.created_unix_ms,
                                         command.expires_unix_ms,
                                         number(command.timeout_ms),
                                         flag(command.at_most_once),
                                         as_bytes(command.idempotency_key),
                                         source,
                                         *topic,
                                         as_bytes(command.correlation_data),
                                         to_string(command.state),
                                         steps,
                                         number(command.sends),
                                         command.first_sent_unix_ms,
                                         flag(command.cancel_wanted),
                                         result_text,
                                         std::span(command.result_payload),
                                         ended_at(command)});
    if (!inserted) return inserted.error();
    if (*inserted > 0) return Inserted{.command = command, .fresh = true};
    if (!command.idempotency_key.empty()) {
      auto found =
          find<CommandEntry>(k_command_by_key, {command.device.str(), as_bytes(command.idempotency_key)}, read_command);
      if (!found) return found.error();
      if (*found) return Inserted{.command = std::move(**found), .fresh = false};
    }
    return make_error(Errc::conflict, "there is a command with the id " + command.id + " already");
  });
}

Result<std::optional<CommandEntry>> SqlStore::advance_command(const CommandAdvance& advance) {
  return atomically([&]() -> Result<std::optional<CommandEntry>> {
    const auto id = key_text(advance.id, "a command's id");
    if (!id) return id.error();
    auto found = find<CommandEntry>(k_command_locked, {*id}, read_command);
    if (!found || !*found) return found;
    CommandEntry& command = **found;
    if (!take_step(command, advance)) return std::optional<CommandEntry>();
    const std::string steps = encode_steps(command.steps);
    const auto done = run(k_advance, {*id, to_string(command.state), steps, number(command.sends),
                                      command.first_sent_unix_ms, flag(command.cancel_wanted), command.result_text,
                                      std::span(std::as_const(command.result_payload)), ended_at(command)});
    if (!done) return done.error();
    return found;
  });
}

Result<std::optional<CommandEntry>> SqlStore::command(std::string_view id) {
  return alone([&]() -> Result<std::optional<CommandEntry>> {
    const auto key = key_text(id, "a command's id");
    if (!key) return std::optional<CommandEntry>();
    return find<CommandEntry>(k_command, {*key}, read_command);
  });
}

Result<std::vector<CommandEntry>> SqlStore::commands_by_id(std::span<const std::string> ids) {
  return alone([&]() -> Result<std::vector<CommandEntry>> {
    std::vector<Call> calls;
    for (const std::string& id : ids) {
      if (const auto key = key_text(id, "a command's id"); key) calls.push_back({&k_command_outline, {*key}});
    }
    std::vector<CommandEntry> found;
    const auto done = run_all(calls, [&](std::size_t, const RowView& row) -> Result<void> {
      auto entry = read_command(row);
      if (!entry) return entry.error();
      found.push_back(std::move(*entry));
      return {};
    });
    if (!done) return done.error();
    return found;
  });
}

Result<std::uint64_t> SqlStore::number_of(std::string_view command_id) {
  const auto key = key_text(command_id, "a command's id");
  if (!key) return key.error();
  const auto found =
      find<std::uint64_t>(k_number, {*key}, [](const RowView& row) -> Result<std::uint64_t> { return row.number(0); });
  if (!found) return found.error();
  if (!*found) return make_error(Errc::not_found, "there is no command " + std::string(command_id));
  return **found;
}

Result<std::vector<CommandEntry>> SqlStore::open_commands(const DeviceId& device, std::string_view after,
                                                          std::size_t limit) {
  return alone([&]() -> Result<std::vector<CommandEntry>> {
    const auto from = key_text(after, "a command's id");
    if (!from) return from.error();
    return list<CommandEntry>(k_open_commands, {device.str(), *from, number(limit)}, read_command);
  });
}

Result<std::vector<CommandRef>> SqlStore::open_command_refs(std::string_view after, std::size_t limit) {
  return alone([&]() -> Result<std::vector<CommandRef>> {
    const auto from = key_text(after, "a command's id");
    if (!from) return from.error();
    return list<CommandRef>(k_open_refs, {*from, number(limit)}, [](const RowView& row) -> Result<CommandRef> {
      auto device = decode_device(row.text(1));
      if (!device) return device.error();
      return CommandRef{row.string(0), std::move(*device), row.flag(2)};
    });
  });
}

Result<std::vector<CommandEntry>> SqlStore::overdue_commands(std::int64_t unix_ms, const CommandDue& after,
                                                             std::size_t limit) {
  return alone([&]() -> Result<std::vector<CommandEntry>> {
    const auto from = key_text(after.id, "a command's id");
    if (!from) return from.error();
    return list<CommandEntry>(k_overdue_commands, {unix_ms, after.unix_ms, *from, number(limit)}, read_command);
  });
}

Result<std::size_t> SqlStore::counted(const Statement& statement, const Params& params) {
  return alone([&]() -> Result<std::size_t> {
    const auto found = find<std::uint64_t>(statement, params,
                                           [](const RowView& row) -> Result<std::uint64_t> { return row.number(0); });
    if (!found) return found.error();
    return static_cast<std::size_t>(found->value_or(0));
  });
}

Result<std::size_t> SqlStore::queued_commands(const DeviceId& device) {
  return counted(k_queued_commands, {device.str()});
}

Result<std::size_t> SqlStore::open_command_count() { return counted(k_open_count, {}); }

Result<std::vector<CommandEntry>> SqlStore::commands(const DeviceId& device, std::string_view before,
                                                     std::size_t limit) {
  return alone([&]() -> Result<std::vector<CommandEntry>> {
    constexpr std::uint64_t k_newest = std::numeric_limits<std::int64_t>::max();
    const auto from = before.empty() ? Result<std::uint64_t>(k_newest) : number_of(before);
    if (!from) return from.error();
    return list<CommandEntry>(k_device_commands, {device.str(), number(*from), number(limit)}, read_command);
  });
}

Result<std::size_t> SqlStore::trim_commands(std::int64_t unix_ms, std::size_t limit) {
  return alone([&] { return run(k_trim_commands, {unix_ms, number(limit)}); });
}

}  // namespace fieldgate::store

#undef FIELDGATE_COMMAND_COLUMNS
#undef FIELDGATE_COMMAND_OUTLINE
#undef FIELDGATE_COMMAND_DUE
