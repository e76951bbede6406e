// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/log.h"
#include "gateway/ports/node_status.h"

#include <atomic>
#include <limits>
#include <map>
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
  std::vector<LaneStatus> lanes() const override {
    LaneStatus main;
    main.name = "main";
    main.type = "mqtt";
    main.destination = "127.0.0.1:1883";
    main.state = LaneState::backing_off;
    main.since_unix_ms = 1'699'999'999'000;
    main.last_error = "refused\xff";  // from a peer: not always text
    main.pending_records = 12;
    main.oldest_pending_ms = 1'500;
    main.forwarded_records = 100;
    main.filtered_records = 3;
    main.dead_lettered_records = 1;
    LaneStatus second;
    second.name = "archive";
    second.type = "mqtt";
    second.destination = "[::1]:1883";
    second.required = false;
    second.state = LaneState::running;
    return {main, second};
  }

  std::atomic<bool> ready{true};
};

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
