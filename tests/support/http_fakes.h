// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/lane_control.h"
#include "gateway/ports/log.h"
#include "gateway/ports/node_status.h"
#include "gateway/ports/wire.h"

#include <atomic>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::test {

class FakeClock final : public Clock {
 public:
  Monotonic now() const noexcept override { return Monotonic(milliseconds(unix_ms_.load())); }
  std::int64_t unix_ms() const noexcept override { return unix_ms_.load(); }
  void set(std::int64_t unix_ms) { unix_ms_.store(unix_ms); }

 private:
  std::atomic<std::int64_t> unix_ms_{1'700'000'000'000};
};

class SilentLog final : public Log {
 public:
  bool enabled(LogLevel) const noexcept override { return false; }
  void write(LogLevel, std::string_view, std::initializer_list<LogField>) noexcept override {}
};

// Answers at once, on the thread that asks; or never, for devices told to be mute.
class FakeLiveDevices final : public LiveDevices {
 public:
  void detail(const DeviceId& id, Answer answer) override {
    std::optional<DeviceDetail> known;
    {
      MutexLock lock(mutex_);
      ++asked_;
      if (mute_) {
        kept_.push_back(std::move(answer));
        return;
      }
      if (const auto at = details_.find(id.str()); at != details_.end()) known = at->second;
    }
    answer(std::move(known));
  }
  void watch(WatchSetPtr devices) override {
    MutexLock lock(mutex_);
    watched_ = std::move(devices);
  }
  WatchSetPtr watched() {
    MutexLock lock(mutex_);
    return watched_;
  }

  void put(const DeviceDetail& detail) {
    MutexLock lock(mutex_);
    details_.insert_or_assign(detail.summary.id.str(), detail);
  }
  void set_mute(bool mute) {
    MutexLock lock(mutex_);
    mute_ = mute;
  }
  int asked() {
    MutexLock lock(mutex_);
    return asked_;
  }
  // The answers that have not been given.
  std::vector<Answer> take_kept() {
    MutexLock lock(mutex_);
    return std::exchange(kept_, {});
  }

 private:
  Mutex mutex_;
  std::map<std::string, DeviceDetail> details_ GUARDED_BY(mutex_);
  std::vector<Answer> kept_ GUARDED_BY(mutex_);
  bool mute_ GUARDED_BY(mutex_) = false;
  int asked_ GUARDED_BY(mutex_) = 0;
  WatchSetPtr watched_ GUARDED_BY(mutex_);
};

class FakeNodeStatus final : public NodeStatus {
 public:
  Readiness readiness() const override {
    Readiness out;
    out.ready = ready;
    out.reasons = {{"lane_down", "lane \"main\" is backing off", false}};
    if (!ready) out.reasons.push_back({"draining", "told to stop", true});
    return out;
  }
  NodeInfo node() const override { return {"edge-1", "b00t", "0.1.0", 1'699'999'000'000, 2, 1}; }
  Overview overview() const override {
    Overview out;
    out.connections = 5;
    out.handshakes = 1;
    out.admitted = 9;
    out.ends[static_cast<std::size_t>(EndReason::heartbeat_lost)] = 3;
    out.records[static_cast<std::size_t>(RecordKind::telemetry)] = 1'000;
    out.rejects[static_cast<std::size_t>(RejectCode::malformed)] = 2;
    out.bytes_in = 100'000;
    out.bytes_out = 5'000;
    out.uplink.records = 12;
    out.uplink.bytes = 4'096;
    out.uplink.bytes_max = 1'048'576;
    out.spool = true;
    out.certificates = {{"device_listener", 1'731'536'000'000}};
    out.memory_bytes = 50'000'000;
    out.cpu_seconds = 1.5;
    out.uptime_seconds = 1'000;
    return out;
  }
  std::vector<LaneStatus> lanes() const override {
    LaneStatus main;
    main.name = "main";
    main.type = "mqtt";
    main.destination = "127.0.0.1:1883";
    main.state = LaneState::backing_off;
    main.held = held("main");
    main.since_unix_ms = 1'699'999'999'000;
    main.last_error = "refused\xff";  // from a peer: not always text
    main.records_in = 132;
    main.pending_records = 12;
    main.oldest_pending_ms = 1'500;
    main.forwarded_records = 100;
    main.filtered_records = 3;
    main.dead_lettered_records = 1;
    main.expired_records = 11;
    main.skipped_records = 5;
    LaneStatus second;
    second.name = "archive";
    second.type = "webhook";
    second.destination = "[::1]:8443";
    second.required = false;
    second.state = LaneState::running;
    second.held = held("archive");
    return {main, second};
  }

  bool held(std::string_view lane) const {
    const MutexLock lock(mutex_);
    return held_.count(std::string(lane)) != 0;
  }
  void hold(std::string_view lane, bool held) {
    const MutexLock lock(mutex_);
    if (held) {
      held_.emplace(lane);
    } else {
      held_.erase(std::string(lane));
    }
  }

  std::atomic<bool> ready{true};

 private:
  mutable Mutex mutex_;
  std::set<std::string> held_ GUARDED_BY(mutex_);
};

// Letters in memory; any thread.
class FakeDeadLetters final : public DeadLetterStore {
 public:
  std::uint64_t add(DeadLetter letter) override {
    const MutexLock lock(mutex_);
    letter.id = next_++;
    letters_.emplace(letter.id, letter);
    return letter.id;
  }
  DeadLetterPage list(const DeadLetterQuery& query) const override {
    const MutexLock lock(mutex_);
    DeadLetterPage page;
    for (auto at = letters_.upper_bound(query.after); at != letters_.end(); ++at) {
      if (!query.lane.empty() && at->second.lane != query.lane) continue;
      if (!query.device.empty() && at->second.device != query.device) continue;
      if (page.letters.size() == query.limit) {
        page.next_after = page.letters.back().id;
        break;
      }
      page.letters.push_back(at->second);
    }
    return page;
  }
  std::optional<DeadLetter> find(std::uint64_t id) const override {
    const MutexLock lock(mutex_);
    const auto at = letters_.find(id);
    return at == letters_.end() ? std::nullopt : std::optional(at->second);
  }
  bool remove(std::uint64_t id) override {
    const MutexLock lock(mutex_);
    return letters_.erase(id) != 0;
  }
  std::vector<DeadLetterUsage> usage() const override {
    const MutexLock lock(mutex_);
    DeadLetterUsage main{"main", 0, 0, 2};
    for (const auto& [id, letter] : letters_) {
      if (letter.lane != "main") continue;
      ++main.letters;
      main.bytes += letter.payload.size();
    }
    return {main};
  }

 private:
  mutable Mutex mutex_;
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
  std::map<std::uint64_t, DeadLetter> letters_ GUARDED_BY(mutex_);
};

// Lanes "main" and "archive", as FakeNodeStatus shows them. Takes `room` records,
// then fails as told; takes no record of kind state.
class FakeLaneControl final : public LaneControl {
 public:
  explicit FakeLaneControl(FakeNodeStatus& status) : status_(status) {}

  Result<void> pause(std::string_view lane) override { return turn(lane, true); }
  Result<void> resume(std::string_view lane) override { return turn(lane, false); }
  const DeadLetterStore& dead_letters() const override { return store; }

  Result<void> replay(std::uint64_t id) override {
    const auto letter = store.find(id);
    if (!letter) return make_error(Errc::not_found, "no such letter");
    if (!known(letter->lane)) return make_error(Errc::not_found, "no lane " + letter->lane);
    if (letter->kind == RecordKind::state) return make_error(Errc::invalid_argument, "too old");
    if (room == 0) return make_error(failure, "the log says no");
    --room;
    store.remove(id);
    return {};
  }
  Result<void> discard(std::uint64_t id) override {
    if (!store.remove(id)) return make_error(Errc::not_found, "no such letter");
    return {};
  }
  Bulk replay_all(const DeadLetterQuery& query) override {
    return all(query, [this](std::uint64_t id) { return replay(id); });
  }
  Bulk discard_all(const DeadLetterQuery& query) override {
    return all(query, [this](std::uint64_t id) { return discard(id); });
  }

  FakeDeadLetters store;
  std::atomic<std::size_t> room{1'000};
  Errc failure = Errc::full;

 private:
  static bool known(std::string_view lane) { return lane == "main" || lane == "archive"; }
  Result<void> turn(std::string_view lane, bool held) {
    if (!known(lane)) return make_error(Errc::not_found, "no such lane");
    status_.hold(lane, held);
    return {};
  }
  template <class Act>
  Bulk all(const DeadLetterQuery& query, Act act) {
    const DeadLetterPage page = store.list(query);
    Bulk bulk;
    bulk.next_after = query.after;
    for (const DeadLetter& letter : page.letters) {
      if (const Result<void> done = act(letter.id); !done) {
        bulk.stopped = done.error();
        // What may succeed later is not passed over.
        const bool later = bulk.stopped->code == Errc::full || bulk.stopped->code == Errc::unavailable;
        if (!later) bulk.next_after = letter.id;
        return bulk;
      }
      ++bulk.done;
      bulk.next_after = letter.id;
    }
    bulk.next_after = page.next_after;
    return bulk;
  }

  FakeNodeStatus& status_;
};

// What that lane would not take.
inline DeadLetter letter_of(std::string_view lane, std::string_view device = "sensor-1") {
  DeadLetter letter;
  letter.lane = lane;
  letter.kind = RecordKind::event;
  letter.device = device;
  letter.name = "door";
  letter.stream = {~std::uint64_t{0}};
  letter.seq = {17};
  letter.epoch = {7};
  letter.received_unix_ms = 1'699'999'000'000;
  letter.refused_unix_ms = 1'699'999'001'000;
  letter.target = "fieldgate/v1/devices/sensor-1/events/door";
  letter.reason = "payload_format_invalid";
  letter.detail = "no\xff";  // from a peer: not always text
  letter.payload = std::string("\0\xff!", 3);
  return letter;
}

// "sensor-1" is online and has everything; "sensor-2" is offline.
inline DeviceSummary online_summary() {
  DeviceSummary d{*DeviceId::parse("sensor-1")};
  d.online = true;
  d.epoch = {(std::uint64_t{1} << 53) - 1};
  d.since_unix_ms = 1'699'999'990'000;
  d.last_seen_unix_ms = 1'699'999'999'123;
  d.last_data_unix_ms = 1'699'999'999'100;
  d.firmware = "2.1+b7";
  d.labels = {{"line", "3"}, {"site", "Ber\"lin"}};
  return d;
}

inline DeviceSummary offline_summary() {
  DeviceSummary d{*DeviceId::parse("sensor-2")};
  d.epoch = {7};
  d.since_unix_ms = 1'699'999'000'000;
  d.last_seen_unix_ms = 1'699'999'000'000;
  d.reason = "heartbeat_lost";
  return d;
}

inline DeviceDetail online_detail() {
  DeviceDetail detail(online_summary());
  detail.address = "10.0.0.7:40123";
  detail.tls_version = "TLSv1.3";
  detail.tls_cipher = "TLS_AES_128_GCM_SHA256";
  detail.tls_resumed = true;
  detail.credential = "certificate";
  detail.ack_stage = "forwarded";
  detail.heartbeat_seconds = 30;
  detail.frames_received = 1'000;
  detail.bytes_received = 120'000;
  detail.unacked_frames = 3;
  detail.credit_frames = 64;
  detail.streams = {{{~std::uint64_t{0}}, {1'000}, {997}, 2, 1}};
  detail.last_values = {{"big", std::int64_t{9'007'199'254'740'993}, 1'699'999'999'000, "good"},
                        {"blob", std::vector<std::byte>{std::byte{0}, std::byte{255}}, 1'699'999'999'000, "bad"},
                        {"nan", std::numeric_limits<double>::quiet_NaN(), 1'699'999'999'000, "uncertain"},
                        {"open", true, 1'699'999'999'000, "good"},
                        {"state", std::string("run\n"), 1'699'999'999'000, "good"},
                        {"temperature", 21.5, 1'699'999'999'000, "good"}};
  return detail;
}

}  // namespace fieldgate::test
