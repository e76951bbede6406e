// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/admission.h"
#include "gateway/ports/authenticator.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/flight_recorder.h"
#include "gateway/ports/live_tap.h"
#include "gateway/ports/log.h"
#include "gateway/ports/presence_view.h"
#include "gateway/ports/uplink.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Hand-written stand-ins for the ports. One thread.
namespace fieldgate::test {

class FakeClock final : public Clock {
 public:
  Monotonic now() const noexcept override {
    if (per_look_.count() > 0) now_ += per_look_;
    return now_;
  }
  std::int64_t unix_ms() const noexcept override { return unix_ms_; }
  // As if what is done between two looks took this long.
  void pass_with_each_look(std::chrono::milliseconds by) { per_look_ = by; }
  void advance(std::chrono::milliseconds by) {
    now_ += by;
    unix_ms_ += by.count();
  }
  // The wall clock alone is set.
  void set_unix_ms(std::int64_t unix_ms) { unix_ms_ = unix_ms; }

 private:
  mutable Monotonic now_{std::chrono::hours(1)};
  std::chrono::milliseconds per_look_{0};
  std::int64_t unix_ms_ = 1'700'000'000'000;
};

class SilentLog final : public Log {
 public:
  bool enabled(LogLevel) const noexcept override { return false; }
  void write(LogLevel, std::string_view, std::initializer_list<LogField>) noexcept override {}
};

// Keeps what was submitted until the test says what became of it.
class FakeUplink final : public Uplink {
 public:
  Result<void> submit(std::shared_ptr<RecordBlock> block) override {
    if (full) {
      full = !full_once;
      return make_error(refusal, "no room, or no disk");
    }
    block->set_first_position({next});
    next += block->size();
    blocks.push_back(std::move(block));
    return {};
  }
  UplinkLevel level() const noexcept override { return level_now; }
  AckStage grant(AckStage wanted) const noexcept override {
    return wanted == AckStage::unspecified ? AckStage::forwarded : wanted;
  }

  std::vector<RecordView> records(RecordKind kind = RecordKind::telemetry) const {
    std::vector<RecordView> found;
    for (const auto& block : blocks) {
      for (std::size_t i = 0; i < block->size(); ++i) {
        if ((*block)[i].kind == kind) found.push_back((*block)[i]);
      }
    }
    return found;
  }

  bool full = false;
  bool full_once = false;  // there is room again after one refusal
  Errc refusal = Errc::full;
  UplinkLevel level_now = UplinkLevel::normal;
  std::uint64_t next = 1;
  std::vector<std::shared_ptr<RecordBlock>> blocks;
};

class FakeFleet final : public FleetSink {
 public:
  void changed(std::vector<DeviceSummary> devices) override {
    for (auto& device : devices) changes.push_back(std::move(device));
  }
  void seen(std::vector<SeenUpdate> updates) override {
    for (auto& update : updates) stamps.push_back(std::move(update));
  }
  std::vector<DeviceSummary> changes;
  std::vector<SeenUpdate> stamps;
};

// A token "for.ID" is good for ID.
class FakeAuthenticator final : public Authenticator {
 public:
  Result<DeviceIdentity> authenticate(const PeerCredentials& peer) const override {
    if (throws) throw std::runtime_error("authenticator broke");
    if (!peer.bearer_token.starts_with("for.")) return make_error(Errc::unauthenticated, refusal);
    auto id = DeviceId::parse(peer.bearer_token.substr(4));
    if (!id) return id.error();
    return DeviceIdentity{std::move(*id), proof, sha256, expires_unix_ms};
  }
  bool still_valid(const DeviceIdentity& identity) const override {
    asked.push_back(identity);
    return valid;
  }

  std::string refusal = "no such token";
  IdentityProof proof = IdentityProof::token;
  Sha256 sha256{};
  std::int64_t expires_unix_ms = 0;
  mutable std::vector<DeviceIdentity> asked;  // whether they still hold
  bool throws = false;
  bool valid = true;
};

// Lets everybody in at once, with epochs from 1 on; or as it is told.
class FakeAdmission final : public Admission {
 public:
  struct Asked {
    DeviceId id;
    DeviceProfile profile;
    Answer answer;
  };
  void admit(const DeviceId& id, const DeviceProfile& profile, Answer answer) override {
    if (later) {
      asked.push_back({id, profile, std::move(answer)});
    } else if (refusal) {
      answer(*refusal);
    } else {
      answer(Admitted{{++epoch}, labels});
    }
  }

  void renew(const DeviceId& id, Epoch, Answer answer) override { admit(id, {}, std::move(answer)); }

  std::uint64_t epoch = 0;  // last given
  Labels labels;            // the registry's, of every device
  std::optional<EndReason> refusal;
  bool later = false;  // answers are left to the test
  std::vector<Asked> asked;
};

class FakeRecorder final : public FlightRecorder {
 public:
  void record(TimelineEntry entry) override { entries.push_back(std::move(entry)); }
  void refused(RefusalEntry refusal) override { refusals.push_back(std::move(refusal)); }
  std::vector<TimelineEntry> entries;
  std::vector<RefusalEntry> refusals;
};

class FakeTap final : public LiveTap {
 public:
  void tapped(TappedRecord record) override { records.push_back(std::move(record)); }
  std::vector<TappedRecord> records;
};

class FakePresenceView final : public PresenceView {
 public:
  void publish(const DeviceId& device, const PresenceState& state) override { states[device.str()] = state; }
  std::map<std::string, PresenceState> states;
};

}  // namespace fieldgate::test
