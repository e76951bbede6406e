// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_state.h"
#include "gateway/core/end_reason.h"
#include "gateway/core/ids.h"
#include "gateway/core/record.h"
#include "gateway/core/token_bucket.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fieldgate {

// Where a session lives.
struct SessionAddress {
  std::uint32_t shard = 0;
  SessionRef ref;
  friend bool operator==(SessionAddress, SessionAddress) = default;
};

// A session that has said Hello, and may have the device if nobody with a greater
// epoch does.
struct Claim {
  SessionAddress from;
  DeviceProfile profile;
  Epoch epoch;         // made for this connection
  std::string peer{};  // address of the device, for people
};

// How a connection ended, and when, on both clocks.
struct ConnectionEnd {
  EndReason reason = EndReason::bye;
  std::chrono::steady_clock::time_point at;
  std::int64_t unix_ms = 0;
};

// What Ownership decides; carried out by the home shard.
class OwnershipActions {
 public:
  virtual ~OwnershipActions() = default;
  // `to` owns the device from now on and holds its state until release().
  virtual void grant(SessionAddress to, std::unique_ptr<DeviceState> state, Epoch epoch) = 0;
  virtual void refuse(SessionAddress to, EndReason reason) = 0;
  // `owner` is to put what it has into the log, give the state back by release()
  // with EndReason::taken_over, and end. `by`: the claim it has to give way to.
  virtual void fence(SessionAddress owner, Epoch epoch, const Claim& by) = 0;
  // The device went online, or offline for `reason`, in `epoch`. Called in order. Offline: at
  // state.since_unix_ms. Online: now, to be stamped into `state` with its lanes.
  virtual void presence(DeviceState& state, bool online, Epoch epoch, EndReason reason) = 0;
  // The end of that connection, at state.since_unix_ms, is held no more. HoldEnd::said: its
  // presence() comes next. HoldEnd::elsewhere: none does, though the device is not here.
  virtual void hold_ended(const DeviceState& state, Epoch epoch, HoldEnd how) = 0;
};

struct OwnershipLimits {
  std::chrono::milliseconds fence_patience{1'000};
  std::uint32_t takeovers_per_minute = 12;
  // A device that was gone may come back so many times as often: each time is two events in the
  // presence log, which the whole fleet shares.
  static constexpr double k_returns_per_takeover = 4;
  // Devices remembered, online and offline. The one that has been offline for
  // longest is forgotten first.
  std::size_t devices_max = 200'000;
  // For who was sent away to come back, before it is said that it is offline.
  std::chrono::milliseconds return_patience{10'000};
  // There are other nodes, which let in whom this one sends away as it drains.
  bool peers = false;
};

// Who owns which device, for the ids of one home shard: the one place where claims
// and takeovers are decided. Every claim comes with an epoch made for it, and only
// one above all before can own the device; whatever comes with another epoch than the
// owner's is stale and changes nothing.
//
// Who was sent away (EndReason::age_max, or drain where there are peers) is to be back within
// seconds: its end is held for return_patience, and until then the device counts as online. If
// its next claim comes, here or elsewhere, nothing is said: its online in a greater epoch says
// it all, for an epoch without an offline has ended where the next one begins. If not, the end
// is said as it was, reason and time. So what is said is never false for longer than that, and
// never out of order. A process that is killed meanwhile has said that the device is online,
// and no more: that is what peers, or the next process of this node, end for node_lost.
//
// Thread: the home shard's.
// Owns:   the state of every device that no session holds.
// Bounds: devices_max devices, ends that are held among them: who is forgotten for want of room
//         is said to be offline first.
class Ownership {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // Makes the state of a device seen for the first time.
  using MakeState = std::function<std::unique_ptr<DeviceState>(const DeviceId&)>;

  Ownership(OwnershipLimits limits, OwnershipActions& actions, MakeState make_state);

  // Answered by grant() or refuse(), at once or when the present owner has let go. Of
  // two that wait, the later wins; one whose epoch is not above that of the present or
  // last owner, or of the claim that waits, is refused as EndReason::taken_over.
  void claim(const DeviceId& id, Claim claim, TimePoint now);

  // The session that claimed is gone before it was answered.
  void abandon(const DeviceId& id, SessionAddress from);

  // Refuses the claim that waits for the device, if one does.
  void turn_away(const DeviceId& id, EndReason reason);

  // Another node has let the device in, in epoch `by`: a claim with a lesser one is refused
  // as taken_over, now and later. Returns the owner, if it is to be fenced for it.
  struct Fenced {
    SessionAddress to;
    Epoch epoch;
  };
  std::optional<Fenced> superseded(const DeviceId& id, Epoch by);

  // The owner of `lost` goes on in `fresh`. False: it is not the owner, or not below. A
  // claim that waits has fewer rights now: it is refused as takeover_timeout, and the
  // device tries again.
  bool renewed(const DeviceId& id, Epoch lost, Epoch fresh);

  // The owner of `epoch` lets go. Stale: ignored, and the state is dropped.
  void release(Epoch epoch, std::unique_ptr<DeviceState> state, const ConnectionEnd& end);

  // Says the ends that have been held for return_patience.
  void say_overdue(TimePoint now);
  // Says the end of this device's connection, if it is held: nobody waits for it to come back.
  void say_end(const DeviceId& id);
  // Says every end that is held, and holds none from now on.
  void hold_no_more();
  std::size_t held() const noexcept { return held_; }

  // A record reached `stage` (SPOOLED or FORWARDED) after its session had ended, or
  // an earlier process had logged it. Returns the present owner, to whom it must be
  // passed on, if the state is not here.
  std::optional<SessionAddress> staged(std::string_view id, StreamId stream, AckStage stage, Seq seq);

  // A device as an earlier process left it: parked. If that process said of it that
  // it is online and no more (`end_untold`), its end for EndReason::node_lost is
  // said by tell_ends(), or else before anything else is said of the device.
  // Before any claim, each device once, the longest offline first.
  void restore(std::unique_ptr<DeviceState> state, Epoch epoch, bool end_untold);
  // Says at most `count` of those ends; returns how many may be left.
  std::size_t tell_ends(std::size_t count);

  // Refuses claims that have waited for longer than fence_patience. Returns true
  // if any still wait.
  bool expire(TimePoint now);

  struct Lookup {
    const DeviceState* parked = nullptr;  // set if no session holds it
    std::optional<SessionAddress> owner;
    Epoch epoch;
    std::optional<EndReason> last_end;  // nullopt: not known
    bool held = false;                  // parked, and its end is not said yet
  };
  std::optional<Lookup> find(const DeviceId& id) const;

  std::size_t devices() const noexcept { return entries_.size(); }

 private:
  struct Waiting {
    Claim claim;
    TimePoint since;
  };
  // What reached a stage while the state was away: with a session that is told the
  // same, or on its way, where it would be missed.
  struct LateMark {
    StreamId stream;
    Seq spooled;
    Seq forwarded;
  };
  using LateMarks = std::array<LateMark, 2>;  // the stream marked last comes first
  struct Entry {
    Entry(std::unique_ptr<DeviceState> state, Epoch of, TokenBucket budget)
        : parked(std::move(state)), epoch(of), takeovers(budget) {}

    std::unique_ptr<DeviceState> parked;
    std::optional<SessionAddress> owner;
    std::unique_ptr<Waiting> waiting;
    std::unique_ptr<LateMarks> late;
    Epoch epoch;
    Epoch elsewhere{};  // the largest that another node is known to have given
    TokenBucket takeovers;
    std::optional<EndReason> last_end;
    bool end_untold = false;         // parked then, and restored
    bool held = false;               // parked then: its end is not said, and may never be
    std::int64_t ended_unix_ms = 0;  // of the one that is held
  };
  struct Hold {
    DeviceId device;
    Epoch epoch;
    TimePoint until;
  };
  // Lets a view find an id.
  struct IdHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const noexcept { return stable_hash(id); }
  };

  void hand_over(Entry& entry, Claim claim);
  bool is_to_return(EndReason reason) const noexcept;
  void hold(Entry& entry, const ConnectionEnd& end);
  bool end_hold(Entry& entry, HoldEnd how);  // false: it is not held
  void tell_end(Entry& entry);
  void make_room();
  std::uint32_t ms(TimePoint now) const;

  OwnershipLimits limits_;
  OwnershipActions& actions_;
  MakeState make_state_;
  std::unordered_map<DeviceId, Entry, IdHash, std::equal_to<>> entries_;
  std::deque<std::pair<DeviceId, Epoch>> offline_;  // oldest first; stale pairs are skipped
  std::vector<DeviceId> waiting_ids_;
  std::vector<DeviceId> untold_;  // restored; some may have been told since
  std::deque<Hold> holds_;        // in order of `until`; some may have ended since
  std::size_t held_ = 0;
  bool holding_ = true;
};

}  // namespace fieldgate
