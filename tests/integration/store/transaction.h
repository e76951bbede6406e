// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/device_store.h"

#include <string>
#include <vector>

// One transaction that touches everything a store keeps, and the look at what became of it.
namespace fieldgate::store {

inline DeviceId device_of(int n) { return DeviceId::parse("dev-" + std::to_string(n)).value(); }

inline Result<void> write_inside(DeviceStore& store, int n) {
  const DeviceId id = device_of(n);
  const std::vector<ClaimRequest> claims{{.device = id, .at_least = {}, .unix_ms = n, .auto_register = true}};
  const std::vector<PresenceEvent> events{
      {.device = id, .epoch = {1}, .online = true, .node = "n", .boot_id = "b", .unix_ms = n}};
  const std::vector<TimelineEntry> moments{{.device = id, .unix_ms = n, .fields = {{"k", std::string(200, 'v')}}}};
  CommandEntry command{.id = "c-" + std::to_string(n), .device = id, .name = "x"};
  command.payload.resize(2'000);
  const Twin twin{.device = id, .reported_version = 1};
  if (const auto done = store.claim(claims); !done) return done.error();
  if (const auto done = store.add_presence(events); !done) return done.error();
  if (const auto done = store.add_timeline(moments, 10); !done) return done.error();
  if (const auto done = store.insert_command(command); !done) return done.error();
  return store.put_twin(twin);
}

inline Result<void> write_all(DeviceStore& store, int n) {
  if (auto begun = store.begin(); !begun) return begun;
  auto done = write_inside(store, n);
  if (done) done = store.commit();
  if (!done) store.rollback();
  return done;
}

// How many of the six things that write_all() makes are there.
inline int things_of(DeviceStore& store, int n) {
  const DeviceId id = device_of(n);
  return static_cast<int>(store.device(id).value().has_value()) +
         static_cast<int>(!store.presence_log(&id, 0, 1).value().empty()) +
         static_cast<int>(!store.timeline(id, 0, 1).value().empty()) +
         static_cast<int>(store.command("c-" + std::to_string(n)).value().has_value()) +
         static_cast<int>(store.twin(id).value().has_value()) +
         static_cast<int>(!store.registry_changes(static_cast<std::uint64_t>(n) - 1, 1).value().empty());
}

}  // namespace fieldgate::store
