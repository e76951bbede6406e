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
  // The device went online, or offline for `reason`, in `epoch`. Called in order;
  // may stamp the time into `state`, and its lanes as it goes online.
  virtual void presence(DeviceState& state, bool online, Epoch epoch, EndReason reason) = 0;
};

struct OwnershipLimits {
  std::chrono::milliseconds fence_patience{1'000};
  std::uint32_t takeovers_per_minute = 12;
  // Devices remembered, online and offline. The one that has been offline for
  // longest is forgotten first.
  std::size_t devices_max = 200'000;
};

// Who owns which device, for the ids of one home shard: the one place where claims
// and takeovers are decided. Every claim comes with an epoch made for it, and only
// one above all before can own the device; whatever comes with another epoch than the
// owner's is stale and changes nothing.
// Thread: the home shard's.
// Owns:   the state of every device that no session holds.
// Bounds: devices_max devices.
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
  void release(Epoch epoch, std::unique_ptr<DeviceState> state, EndReason reason);

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
    bool end_untold = false;  // parked then
  };
  // Lets a view find an id.
  struct IdHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const noexcept { return stable_hash(id); }
  };

  void hand_over(Entry& entry, Claim claim);
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
};

}  // namespace fieldgate
