// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/sqlite/sqlite_store.h"
#include "gateway/control/store_worker.h"
#include "gateway/ports/control.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/flight_recorder.h"
#include "gateway/ports/probes.h"
#include "tests/support/fakes.h"
#include "tests/support/faulty_store.h"
#include "tests/support/lane_fakes.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// What the services of the store stand on, for tests: a real store in memory, which
// fails on demand, and time that stands still.
namespace fieldgate::control {

inline DeviceId device_id(std::string text) { return *DeviceId::parse(std::move(text)); }

struct StoreFixture {
  explicit StoreFixture(StoreWorkerLimits limits = {})
      : worker(std::make_unique<test::FaultyStore>(sqlite::make_sqlite_store(":memory:", clock), faults), clock, log,
               limits) {}

  // Until there is nothing to do at this moment.
  void settle() {
    while (worker.run_once()) {
    }
  }
  // In steps of at most a second, as time does.
  void pass(std::chrono::milliseconds time) {
    settle();
    while (time.count() > 0) {
      const auto step = std::min<std::chrono::milliseconds>(time, std::chrono::seconds(1));
      clock.passed += step;
      time -= step;
      settle();
    }
  }
  // What `question` finds in the store.
  template <class T>
  Result<T> ask(std::function<Result<T>(DeviceStore&)> question) {
    std::optional<Result<T>> found;
    const auto ran = worker.run_now([&](DeviceStore& store) -> Result<void> {
      found = question(store);
      return {};
    });
    if (!ran) return ran.error();
    return *std::move(found);
  }

  test::HandClock clock;
  test::TextLog log;
  std::shared_ptr<test::FaultyStore::Faults> faults = std::make_shared<test::FaultyStore::Faults>();
  StoreWorker worker;
  MembershipProbe membership;
};

// Keeps the answer to a question.
template <class T>
struct Answer {
  Reply<T> reply() {
    return [kept = kept](Result<T> result) {
      ++kept->count;
      kept->result = std::move(result);
    };
  }
  struct Kept {
    int count = 0;
    std::optional<Result<T>> result;
  };
  bool there() const { return kept->count == 1; }
  const Result<T>& operator*() const { return *kept->result; }
  const Result<T>* operator->() const { return &*kept->result; }
  std::shared_ptr<Kept> kept = std::make_shared<Kept>();
};

class RecordingSink final : public ControlSink {
 public:
  void registry_changed(std::vector<RegistryChange> changes) override {
    for (auto& change : changes) registry.push_back(std::move(change));
  }
  void presence_known(std::vector<PresenceRow> rows) override {
    for (auto& row : rows) presence.push_back(std::move(row));
  }
  std::vector<RegistryChange> registry;
  std::vector<PresenceRow> presence;
};

class RecordingDownlink final : public Downlink {
 public:
  void send(const DeviceId&, DownMessage, Answer answer) override { answer(Delivery::offline, {}); }
  void close(const DeviceId& id, EndReason reason, std::function<void(bool)> answer) override {
    closed.emplace_back(id.str(), reason);
    answer(true);
  }
  void recheck(std::vector<DeviceId> devices) override {
    for (const auto& device : devices) rechecked.push_back(device.str());
  }
  std::vector<std::pair<std::string, EndReason>> closed;
  std::vector<std::string> rechecked;
};

class RecordingRecorder final : public FlightRecorder {
 public:
  void record(TimelineEntry entry) override { entries.push_back(std::move(entry)); }
  void refused(RefusalEntry) override {}
  // "what by", each.
  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const auto& entry : entries) all.push_back(entry.fields.at(0).second + " " + entry.fields.at(1).second);
    return all;
  }
  std::vector<TimelineEntry> entries;
};

}  // namespace fieldgate::control
