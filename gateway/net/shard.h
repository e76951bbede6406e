// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ownership.h"
#include "gateway/core/restored_device.h"
#include "gateway/core/timer_wheel.h"
#include "gateway/net/ack_queue.h"
#include "gateway/net/device_poll.h"
#include "gateway/net/device_session.h"
#include "gateway/net/ingress.h"
#include "gateway/net/listener.h"
#include "gateway/net/session_config.h"
#include "gateway/net/shard_env.h"
#include "gateway/net/tls_channel.h"
#include "gateway/ports/admission.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/live_tap.h"
#include "gateway/ports/owners.h"
#include "gateway/ports/probes.h"
#include "gateway/ports/uplink.h"
#include "gateway/ports/wire.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace fieldgate::net {

// One io_context, one thread, and everything that happens there: the listener, the
// sessions it accepted, and the ownership of the device ids whose home this is.
// Nothing on a shard blocks, and nothing of a shard is touched by another thread:
// what crosses is moved through post().
// Thread: members run on the shard's thread unless they say "any thread".
class Shard final : public StageSink, private OwnershipActions {
 public:
  static constexpr std::size_t k_scratch_bytes = 65'536;
  static constexpr std::uint32_t k_sweep_slots = 256;  // sessions looked at per turn
  // Of those that are not let in yet, served in a turn.
  static constexpr std::size_t k_newcomers_per_turn = 4;
  // Connections that devices have ended, seen to in 10 ms.
  static constexpr std::uint32_t k_partings_max = 20;

  Shard(std::uint32_t index, ShardEnv env, SessionConfigPtr config);
  ~Shard() override;
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // --- life; called by the gateway, from its thread
  // Devices of earlier processes whose home this is; see Gateway::restore().
  void restore(std::vector<RestoredDevice> devices);
  // All shards, this one included, in order of their index.
  void link(std::vector<Shard*> shards) { shards_ = std::move(shards); }
  Result<std::uint16_t> listen(const Endpoint& endpoint) { return listener_.open(endpoint); }
  void start();
  // Ends every session at once and joins the thread.
  void stop();

  // --- any thread
  // What is posted from then on is dropped.
  bool stopped() const noexcept { return stopped_.load(std::memory_order_acquire); }
  template <class F>
  void post(F&& f) {
    if (stopped()) return;  // or it would be kept for nobody
    boost::asio::post(io_, std::forward<F>(f));
  }
  void staged(AckStage stage, RecordBlockPtr block) override;
  void level_changed(UplinkLevel level) override;
  const ShardProbe& probe() const noexcept { return probe_; }

  // --- the shard's thread
  // Takes an accepted socket over and begins its session.
  void adopt(int fd, const boost::asio::ip::tcp::endpoint& peer);
  // Ends the connection, of those that are not let in yet, that has been there longest of all that keep us waiting
  // (DeviceSession::stalls). False: there is none.
  bool displace_staller();
  void stop_accepting() { listener_.close(); }
  void accept() { listener_.start(); }
  void set_config(SessionConfigPtr config);
  // Ends sessions whose credentials no longer hold, a slice per turn.
  void recheck_credentials(bool certificates);
  // Sends everyone away, spread evenly over `period` by the clock: at no time more than that
  // share of those who were here as it began.
  void drain(std::chrono::milliseconds period);
  // The answer comes on this shard's thread or the owner's.
  void detail(const DeviceId& id, LiveDevices::Answer answer);
  // The same, for ids whose home this is; see Downlink.
  void send_down(const DeviceId& id, DownMessage message, Downlink::Answer answer);
  void close_device(const DeviceId& id, EndReason reason, const std::function<void(bool)>& answer);
  // Looks at those from `from` on, a slice per turn.
  void recheck(std::shared_ptr<const std::vector<DeviceId>> devices, std::size_t from);
  // See LiveDevices; for the sessions of this shard.
  void watch(WatchSetPtr devices);
  // See Owners; for ids whose home this is, but list(): for the sessions of this shard.
  void superseded(const std::vector<Standing>& by, const std::string& node);
  void renew(const Standing& lost, const std::function<void(Standing)>& failed);
  void end_connection(const Standing& connection, EndReason reason);
  void list(std::uint32_t from_slot, const std::function<void(std::vector<DeviceSummary>)>& some);
  void compare(const std::vector<Standing>& believed, const std::function<void(std::vector<DeviceSummary>)>& otherwise);
  void tell_lost(const std::vector<LostConnection>& lost);
  // Asks a fleet of deadlines and the wheel; every second.
  void tick();

  // --- for the sessions and the listener of this shard
  boost::asio::io_context& io() noexcept { return io_; }
  DevicePoll& poll() noexcept { return poll_; }
  const SessionConfig& config() const noexcept { return *config_; }
  ShardEnv& env() noexcept { return env_; }
  ShardProbe& probe() noexcept { return probe_; }
  WireDecoder& decoder() noexcept { return *decoder_; }
  const WireEncoder& encoder() const noexcept { return env_.wire.encoder(); }
  TlsIo& tls_io() noexcept { return tls_io_; }
  std::span<std::byte> scratch() noexcept { return scratch_; }
  std::string& frame_scratch() noexcept { return frame_scratch_; }
  std::string& plain_out() noexcept { return plain_out_; }
  std::uint32_t index() const noexcept { return index_; }
  std::uint32_t now_ms() const noexcept;
  // One look at each clock for all that arrived together: now_ms(), and the wall clock,
  // which arrived_unix_ms() goes on giving.
  std::uint32_t stamp_arrival() noexcept;
  std::int64_t arrived_unix_ms() const noexcept { return arrived_unix_ms_; }
  void file_deadline(DeviceSession& session, std::uint32_t due_ms);
  UplinkLevel level() const noexcept { return level_; }

  // A record of a live session; in the log by the end of this turn, or the session
  // is ended and the device keeps it.
  void ingest(const RecordView& record);
  // Puts what was ingested into the log. What that refuses counts as never
  // received, and its sessions end.
  void flush();
  void ack_later(SessionRef ref);
  // `peer`: the device's address.
  void claim(const DeviceId& id, SessionRef from, DeviceProfile profile, std::string peer);
  void abandon(const DeviceId& id, SessionRef from);
  // Live sessions whose stage is ACCEPTED: blocks are walked for them alone.
  void accepted_sessions(std::int32_t change) noexcept { accepted_sessions_ += change; }
  bool watches(const DeviceId& id) const { return watched_ && watched_->contains(id); }
  void tap(const RecordView& record);
  // Takes the state home. The session has flushed before.
  void release(std::unique_ptr<DeviceState> state, Epoch epoch, EndReason reason);

  // The session with this state goes on in the epoch `fresh`.
  void renewed(DeviceState& state, Epoch lost, Epoch fresh);

  // Runs `f(DeviceSession&)` if the session is still there; what it wants to send
  // is sent, an exception ends that session alone, and one that is gone is removed.
  template <class F>
  void with_session(SessionRef ref, F&& f);

 private:
  // What a session is to be told of records that an earlier connection had sent.
  struct LateMark {
    SessionRef to;
    StreamId stream;
    Seq seq;
  };
  struct Slot {
    std::unique_ptr<DeviceSession> session;
    std::uint32_t generation = 0;
  };
  // A claim that waits for its admission; one for each session in that phase.
  struct Applicant {
    DeviceId id;
    Claim wish;
  };
  struct AddressHash {
    std::size_t operator()(const SessionAddress& at) const noexcept {
      return (std::size_t{at.shard} << 48) ^ (std::size_t{at.ref.generation} << 24) ^ at.ref.slot;
    }
  };

  void run();
  DeviceSession* find(SessionRef ref) noexcept;
  bool is_newcomer(SessionRef ref) noexcept;
  Shard& home_of(const DeviceId& id) noexcept;
  void settle(SessionRef ref);
  void handler_failed(SessionRef ref, const char* what) noexcept;
  void await_devices();
  void serve_devices();
  bool may_part();
  bool part_later(SessionRef ref);
  void part_some();
  void arm_parting_timer();
  void schedule_flush();
  void block_staged(AckStage stage, const RecordBlockPtr& block);
  void block_refused(const RecordBlock& block);
  void arm_tick();
  void arm_ack_timer();
  void send_acks();
  void apply(const DeviceId& id, Claim wish);
  void admitted(SessionAddress from, AdmissionOutcome outcome);
  void arm_claim_timer();
  void late_staged(AckStage stage, const RecordBlock& block, const std::vector<std::uint32_t>& places);
  void tell_ends();
  void ask_again(SessionRef ref, const Standing& lost, const std::function<void(Standing)>& failed);
  void log_presence(const DeviceSummary& device, LaneSet lanes);
  // That the device is online, or offline for a reason, since when: to log, views and fleet.
  void say(DeviceSummary device, LaneSet lanes);
  void send_seen(std::size_t from_slot);
  void hand_down(SessionRef to, const DownMessage& message, const Downlink::Answer& answer);
  void count_down(const DownMessage& message, Delivery outcome);
  void drain_step();
  void give_back_step();
  void assert_current() const noexcept;
  template <class F>
  void sweep(std::uint32_t from_slot, F f);

  // OwnershipActions, for the ids whose home this is.
  void grant(SessionAddress to, std::unique_ptr<DeviceState> state, Epoch epoch) override;
  void refuse(SessionAddress to, EndReason reason) override;
  void fence(SessionAddress owner, Epoch epoch, const Claim& by) override;
  void presence(DeviceState& state, bool online, Epoch epoch, EndReason reason) override;
  void hold_ended(const DeviceState& state, Epoch epoch, HoldEnd how) override;

  const std::uint32_t index_;
  ShardEnv env_;
  SessionConfigPtr config_;
  std::vector<Shard*> shards_;
  ShardProbe probe_;
  const Monotonic started_;

  boost::asio::io_context io_{1};
  DevicePoll poll_{io_};
  TlsIo tls_io_;
  std::vector<std::byte> scratch_;
  std::string frame_scratch_;  // one protobuf message being encoded
  std::string plain_out_;      // what the session at work wants to send
  std::unique_ptr<WireDecoder> decoder_;
  TimerWheel wheel_{0};
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::deque<SessionRef> newcomers_;  // by age; some have arrived or left since
  Ingress ingress_;
  Ownership ownership_;
  std::unordered_map<SessionAddress, Applicant, AddressHash> applicants_;
  WatchSetPtr watched_;
  std::vector<DeviceSummary> changed_;
  AckQueue acks_;
  std::deque<SessionRef> parting_;  // paused; some may have ended otherwise
  Monotonic parting_since_{};
  std::uint32_t partings_left_ = 0;  // of k_partings_max, since then
  boost::asio::steady_timer tick_timer_;
  boost::asio::steady_timer ack_timer_;
  boost::asio::steady_timer claim_timer_;
  boost::asio::steady_timer drain_timer_;
  boost::asio::steady_timer credit_timer_;
  boost::asio::steady_timer parting_timer_;
  Listener listener_;
  std::int64_t arrived_unix_ms_ = 0;
  UplinkLevel level_ = UplinkLevel::normal;
  bool flush_scheduled_ = false;
  bool ack_timer_armed_ = false;  // or a round is going on
  bool claim_timer_armed_ = false;
  bool parting_timer_armed_ = false;
  bool stopping_ = false;
  std::uint32_t ticks_ = 0;
  Monotonic drain_began_{};
  std::chrono::milliseconds drain_period_{};
  std::size_t drain_all_ = 0;       // to be sent away
  std::size_t drain_sent_ = 0;      // of those
  std::size_t drain_slot_ = 0;      // where to go on
  std::size_t give_back_slot_ = 0;  // where to go on
  std::size_t give_back_left_ = 0;  // slots to look at
  bool give_back_armed_ = false;
  std::size_t ends_untold_ = 0;  // at most, of restored devices
  bool telling_ends_ = false;    // the next step is posted
  std::int32_t accepted_sessions_ = 0;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::thread thread_;
  std::atomic<bool> stopped_{false};  // the thread is no more
  std::thread::id thread_id_;
};

template <class F>
void Shard::with_session(SessionRef ref, F&& f) {
  DeviceSession* session = find(ref);
  if (session == nullptr) return;
  try {
    f(*session);
    settle(ref);
  } catch (const std::exception& e) {
    handler_failed(ref, e.what());
    settle(ref);
  }
}

// Calls f for the sessions of a slice of slots, and comes back for the rest.
template <class F>
void Shard::sweep(std::uint32_t from_slot, F f) {
  const auto end = std::min<std::size_t>(slots_.size(), std::size_t{from_slot} + k_sweep_slots);
  for (std::size_t i = from_slot; i < end; ++i) {
    if (slots_[i].session) with_session(slots_[i].session->ref(), f);
  }
  if (end < slots_.size()) post([this, end, f] { sweep(static_cast<std::uint32_t>(end), f); });
}

}  // namespace fieldgate::net
