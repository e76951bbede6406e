// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/sqlite/sqlite_store.h"
#include "gateway/control/command_desk.h"
#include "gateway/control/store_worker.h"
#include "gateway/control/twin_desk.h"
#include "tests/support/lane_fakes.h"
#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

// What worlds of one gateway and of several have in common: the store that outlives
// gateways, and the log of what devices said.
namespace fieldgate::control {

template <class T>
using Asked = Answer<T>;  // Downlink has an Answer of its own

struct LedgerWorld {
  void add(const std::string& id) {
    ASSERT_TRUE(store->put_device(DeviceEntry{.id = device_id(id), .labels = {}, .note = {}}, std::nullopt));
  }
  static CommandRequest request(const std::string& device, const std::string& name = "reboot") {
    return {.device = device_id(device),
            .name = name,
            .payload = {},
            .timeout = {},
            .ttl = {},
            .at_most_once = false,
            .idempotency_key = {},
            .source = "api:test",
            .response_topic = {},
            .correlation_data = {}};
  }
  CommandEntry entry(const std::string& id) const {
    return store->command(id)->value_or(CommandEntry{.id = "none", .device = device_id("none"), .name = {}});
  }
  std::string state(const std::string& id) const { return std::string(to_string(entry(id).state)); }
  // "queued queued@1 sent@1 ..."
  std::string steps(const std::string& id) const {
    std::string text;
    for (const CommandStep& step : entry(id).steps) {
      text.append(text.empty() ? "" : " ").append(to_string(step.state));
      if (step.epoch.value != 0) text.append("@" + std::to_string(step.epoch.value));
    }
    return text;
  }

  test::HandClock clock;
  test::TextLog log;
  std::shared_ptr<DeviceStore> store = sqlite::make_sqlite_store(":memory:", clock);
};

// What devices have said to one gateway, as its log has it, and how far its desks have taken it.
struct SaidRecords {
  void write_down(const std::string& id, DeviceReply reply, Epoch epoch, std::int64_t unix_ms) {
    journal.push_back({device_id(id), StreamId{7}, Seq{journal.size() + 1}, epoch, unix_ms, std::move(reply)});
  }
  // Hands over all that is new, in one transaction. False: there is nothing, or it could not be.
  bool pump_journal(StoreWorker& worker, CommandDesk& commands, TwinDesk& twins) {
    if (applying || journalled == journal.size() || !worker.available()) return false;
    const std::size_t end = journal.size();
    applying = worker.submit(
        [this, &commands, &twins, from = journalled, end](DeviceStore& into) -> Result<void> {
          commands.begin();
          twins.begin();
          for (std::size_t i = from; i < end; ++i) {
            if (auto done = commands.apply(into, journal[i]); !done) return done;
            if (auto done = twins.apply(into, journal[i]); !done) return done;
          }
          return {};
        },
        [this, &commands, &twins, end](const Result<void>& outcome) {
          applying = false;
          if (!outcome) return;
          journalled = end;
          commands.committed();
          twins.committed();
        });
    return applying;
  }

  std::vector<JournalRecord> journal;
  std::size_t journalled = 0;
  bool applying = false;
};

}  // namespace fieldgate::control
