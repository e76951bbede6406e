// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/codec.h"
#include "adapters/store/sql_store.h"
#include "adapters/store/statements.h"

#include <limits>
#include <utility>

namespace fieldgate::store {

const Statement k_presence_rows{
    "SELECT device_id, epoch, online, node, boot_id, since_unix_ms, reason, last_seen_unix_ms, last_data_unix_ms, "
    "firmware, labels, profile_epoch FROM presence WHERE device_id > $1 AND epoch > 0 ORDER BY device_id LIMIT $2"};
const Statement k_presence_log{
    "SELECT device_id, epoch, online, node, boot_id, unix_ms, reason, number FROM presence_log "
    "WHERE number > $1 ORDER BY number LIMIT $2"};
const Statement k_device_presence{
    "SELECT device_id, epoch, online, node, boot_id, unix_ms, reason, number FROM presence_log "
    "WHERE device_id = $1 AND number > $2 ORDER BY number LIMIT $3"};
const Statement k_device_presence_before{
    "SELECT device_id, epoch, online, node, boot_id, unix_ms, reason, number FROM presence_log "
    "WHERE device_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3"};
const Statement k_earlier_boots{
    "SELECT device_id, epoch, online, node, boot_id, since_unix_ms, reason, 0 FROM presence "
    "WHERE online = 1 AND node = $1 AND boot_id <> $2 ORDER BY boot_id LIMIT $3"};
const Statement k_dead_node{
    "SELECT device_id, epoch, online, node, boot_id, since_unix_ms, reason, 0 FROM presence "
    "WHERE online = 1 AND node = $1 ORDER BY boot_id LIMIT $2"};
const Statement k_trim_presence{
    "DELETE FROM presence_log WHERE number IN "
    "(SELECT number FROM presence_log WHERE number <= $1 ORDER BY number LIMIT $2)"};

namespace {

// In one epoch only online -> offline is news.
constexpr Statement k_apply{
    "INSERT INTO presence (device_id, epoch, online, node, boot_id, since_unix_ms, reason) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (device_id) DO UPDATE SET epoch = excluded.epoch, "
    "online = excluded.online, node = excluded.node, boot_id = excluded.boot_id, "
    "since_unix_ms = excluded.since_unix_ms, reason = excluded.reason "
    "WHERE presence.epoch < excluded.epoch "
    "OR (presence.epoch = excluded.epoch AND presence.online = 1 AND excluded.online = 0) RETURNING epoch"};
constexpr Statement k_log{
    "INSERT INTO presence_log (number, device_id, epoch, online, node, boot_id, unix_ms, reason) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"};
constexpr Statement k_set_number{"UPDATE counters SET presence = $1 WHERE id = 1"};
constexpr Statement k_seen{
    "INSERT INTO presence (device_id, last_seen_unix_ms, last_data_unix_ms) VALUES ($1, $2, $3) "
    "ON CONFLICT (device_id) DO UPDATE SET "
    "last_seen_unix_ms = CASE WHEN excluded.last_seen_unix_ms > presence.last_seen_unix_ms "
    "THEN excluded.last_seen_unix_ms ELSE presence.last_seen_unix_ms END, "
    "last_data_unix_ms = CASE WHEN excluded.last_data_unix_ms > presence.last_data_unix_ms "
    "THEN excluded.last_data_unix_ms ELSE presence.last_data_unix_ms END "
    "WHERE presence.epoch <= $4"};
constexpr Statement k_profile{
    "INSERT INTO presence (device_id, firmware, labels, profile_epoch) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (device_id) DO UPDATE SET firmware = excluded.firmware, labels = excluded.labels, "
    "profile_epoch = excluded.profile_epoch "
    "WHERE presence.epoch <= excluded.profile_epoch AND presence.profile_epoch <= excluded.profile_epoch"};
constexpr Statement k_presence_of{
    "SELECT device_id, epoch, online, node, boot_id, since_unix_ms, reason, last_seen_unix_ms, last_data_unix_ms, "
    "firmware, labels, profile_epoch FROM presence WHERE device_id = $1 AND epoch > 0"};
constexpr Statement k_presence_number{"SELECT presence FROM counters WHERE id = 1"};
// Whose lease has run out: while this is locked it cannot be renewed.
constexpr Statement k_lapsed{"SELECT name FROM nodes WHERE name = $1 AND lease_until_unix_ms <= store_unix_ms()", true};

Result<PresenceEvent> read_event(const RowView& row) {
  auto id = decode_device(row.text(0));
  if (!id) return id.error();
  return PresenceEvent{.device = std::move(*id),
                       .epoch = {row.number(1)},
                       .online = row.flag(2),
                       .node = row.string(3),
                       .boot_id = row.string(4),
                       .unix_ms = row.integer(5),
                       .reason = row.string(6),
                       .number = row.number(7)};
}

Result<PresenceRow> read_row(const RowView& row) {
  auto id = decode_device(row.text(0));
  if (!id) return id.error();
  auto labels = decode_pairs(row.text(10));
  if (!labels) return labels.error();
  return PresenceRow{.device = std::move(*id),
                     .epoch = {row.number(1)},
                     .online = row.flag(2),
                     .node = row.string(3),
                     .boot_id = row.string(4),
                     .since_unix_ms = row.integer(5),
                     .reason = row.string(6),
                     .last_seen_unix_ms = row.integer(7),
                     .last_data_unix_ms = row.integer(8),
                     .firmware = row.string(9),
                     .labels = std::move(*labels),
                     .profile_epoch = {row.number(11)}};
}

// The texts of an event, fit to be kept.
struct EventTexts {
  explicit EventTexts(const PresenceEvent& event)
      : node(clean_text(event.node)), boot_id(clean_text(event.boot_id)), reason(clean_text(event.reason)) {}
  std::string node;
  std::string boot_id;
  std::string reason;
};

}  // namespace

Result<std::size_t> SqlStore::add_presence(std::span<const PresenceEvent> events) {
  if (events.empty()) return std::size_t{0};
  return atomically([&]() -> Result<std::size_t> {
    const auto counters = lock_counters();
    if (!counters) return counters.error();
    return apply_presence(events, counters->presence);
  });
}

Result<std::size_t> SqlStore::apply_presence(std::span<const PresenceEvent> events, std::uint64_t last_number) {
  std::vector<EventTexts> texts(events.begin(), events.end());
  std::vector<Call> calls;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const PresenceEvent& event = events[i];
    calls.push_back({&k_apply,
                     {event.device.str(), number(event.epoch.value), flag(event.online), texts[i].node,
                      texts[i].boot_id, event.unix_ms, texts[i].reason}});
  }
  std::vector<std::size_t> news;
  auto done = run_all(calls, [&](std::size_t index, const RowView&) -> Result<void> {
    news.push_back(index);
    return {};
  });
  if (!done) return done;
  if (news.empty()) return std::size_t{0};
  calls.clear();
  for (const std::size_t i : news) {
    const PresenceEvent& event = events[i];
    calls.push_back({&k_log,
                     {number(++last_number), event.device.str(), number(event.epoch.value), flag(event.online),
                      texts[i].node, texts[i].boot_id, event.unix_ms, texts[i].reason}});
  }
  calls.push_back({&k_set_number, {number(last_number)}});
  if (done = run_all(calls); !done) return done;
  return news.size();
}

Result<void> SqlStore::set_seen(std::span<const SeenUpdate> updates) {
  if (updates.empty()) return {};
  return atomically([&]() -> Result<void> {
    if (const auto counters = lock_counters(); !counters) return counters.error();
    std::vector<Call> calls;
    for (const SeenUpdate& update : updates) {
      calls.push_back(
          {&k_seen, {update.id.str(), update.last_seen_unix_ms, update.last_data_unix_ms, number(update.epoch.value)}});
    }
    if (const auto done = run_all(calls); !done) return done.error();
    return {};
  });
}

Result<void> SqlStore::set_profiles(std::span<const ProfileUpdate> updates) {
  if (updates.empty()) return {};
  return atomically([&]() -> Result<void> {
    if (const auto counters = lock_counters(); !counters) return counters.error();
    std::vector<std::pair<std::string, std::string>> texts;
    for (const ProfileUpdate& update : updates) {
      texts.emplace_back(clean_text(update.firmware), encode_pairs(update.labels));
    }
    std::vector<Call> calls;
    for (std::size_t i = 0; i < updates.size(); ++i) {
      calls.push_back(
          {&k_profile, {updates[i].device.str(), texts[i].first, texts[i].second, number(updates[i].epoch.value)}});
    }
    if (const auto done = run_all(calls); !done) return done.error();
    return {};
  });
}

Result<std::vector<PresenceEvent>> SqlStore::end_earlier_boots(const std::string& node, const std::string& boot_id,
                                                               std::int64_t unix_ms, std::size_t limit) {
  return atomically([&]() -> Result<std::vector<PresenceEvent>> {
    const auto counters = lock_counters();
    if (!counters) return counters.error();
    auto events =
        list<PresenceEvent>(k_earlier_boots, {clean_text(node), clean_text(boot_id), number(limit)}, read_event);
    if (!events) return events;
    return end_all(*std::move(events), unix_ms, counters->presence);
  });
}

Result<std::vector<PresenceEvent>> SqlStore::end_dead_node(const std::string& node, std::int64_t unix_ms,
                                                           std::size_t limit) {
  return atomically([&]() -> Result<std::vector<PresenceEvent>> {
    const auto counters = lock_counters();
    if (!counters) return counters.error();
    const std::string name = clean_text(node);
    const auto lapsed = run(k_lapsed, {name});
    if (!lapsed) return lapsed.error();
    if (*lapsed == 0) return std::vector<PresenceEvent>();
    auto events = list<PresenceEvent>(k_dead_node, {name, number(limit)}, read_event);
    if (!events) return events;
    return end_all(*std::move(events), unix_ms, counters->presence);
  });
}

Result<std::vector<PresenceEvent>> SqlStore::end_all(std::vector<PresenceEvent> left, std::int64_t unix_ms,
                                                     std::uint64_t last_number) {
  std::uint64_t last = last_number;
  for (PresenceEvent& event : left) {
    event.online = false;
    event.unix_ms = unix_ms;
    event.reason = to_string(EndReason::node_lost);
    event.number = ++last;
  }
  // Each is online, and no one changes that meanwhile: so all of them are news.
  if (const auto done = apply_presence(left, last_number); !done) return done.error();
  return left;
}

Result<std::vector<PresenceRow>> SqlStore::presence_rows(std::string_view after_id, std::size_t limit) {
  return alone([&]() -> Result<std::vector<PresenceRow>> {
    const auto after = key_text(after_id, "a device id");
    if (!after) return after.error();
    return list<PresenceRow>(k_presence_rows, {*after, number(limit)}, read_row);
  });
}

Result<std::vector<PresenceRow>> SqlStore::presence_of(std::span<const DeviceId> devices) {
  return alone([&]() -> Result<std::vector<PresenceRow>> {
    std::vector<Call> calls;
    for (const DeviceId& device : devices) calls.push_back({&k_presence_of, {device.str()}});
    std::vector<PresenceRow> rows;
    const auto done = run_all(calls, [&](std::size_t, const RowView& found) -> Result<void> {
      auto row = read_row(found);
      if (!row) return row.error();
      rows.push_back(*std::move(row));
      return {};
    });
    if (!done) return done.error();
    return rows;
  });
}

Result<std::uint64_t> SqlStore::presence_number() {
  return alone([&]() -> Result<std::uint64_t> {
    auto found = find<std::uint64_t>(k_presence_number, {},
                                     [](const RowView& row) -> Result<std::uint64_t> { return row.number(0); });
    if (!found) return found.error();
    if (!*found) return make_error(Errc::malformed, "store: its counters are gone");
    return **found;
  });
}

Result<std::vector<PresenceEvent>> SqlStore::presence_log(const DeviceId* device, std::uint64_t after,
                                                          std::size_t limit) {
  return alone([&] {
    if (device == nullptr) return list<PresenceEvent>(k_presence_log, {number(after), number(limit)}, read_event);
    return list<PresenceEvent>(k_device_presence, {device->str(), number(after), number(limit)}, read_event);
  });
}

Result<std::vector<PresenceEvent>> SqlStore::device_presence(const DeviceId& device, std::uint64_t before,
                                                             std::size_t limit) {
  constexpr std::uint64_t k_newest = std::numeric_limits<std::int64_t>::max();
  return alone([&] {
    return list<PresenceEvent>(k_device_presence_before,
                               {device.str(), number(before == 0 ? k_newest : before), number(limit)}, read_event);
  });
}

Result<std::size_t> SqlStore::trim_presence(std::uint64_t keep, std::size_t limit) {
  return atomically([&]() -> Result<std::size_t> {
    const auto counters = lock_counters();
    if (!counters) return counters.error();
    if (counters->presence <= keep) return std::size_t{0};
    return run(k_trim_presence, {number(counters->presence - keep), number(limit)});  // numbers have no holes
  });
}

}  // namespace fieldgate::store
