// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/shard.h"

#include "gateway/net/tls_memory.h"
#include "gateway/ports/log.h"
#include "gateway/ports/presence_view.h"
#include "gateway/ports/thread_scheduling.h"

#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace fieldgate::net {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t k_seen_every_ticks = 10;
constexpr milliseconds k_drain_step{50};
constexpr milliseconds k_parting_step{10};

OwnershipLimits ownership_limits(const SessionConfig& config) {
  OwnershipLimits limits;
  limits.takeovers_per_minute = config.limits.takeovers_per_minute;
  limits.devices_max = std::max<std::size_t>(1, limits.devices_max / config.shards);
  limits.peers = config.peers;
  return limits;
}

}  // namespace

Shard::Shard(std::uint32_t index, ShardEnv env, SessionConfigPtr config)
    : index_(index),
      env_(std::move(env)),
      config_(std::move(config)),
      started_(env_.clock.now()),
      scratch_(k_scratch_bytes),
      decoder_(env_.wire.make_decoder()),
      ingress_(index, env_.uplink),
      ownership_(ownership_limits(*config_), *this,
                 [this](const DeviceId& id) {
                   return std::make_unique<DeviceState>(id, config_->session.last_values_bytes_max);
                 }),
      tick_timer_(io_),
      ack_timer_(io_),
      claim_timer_(io_),
      drain_timer_(io_),
      credit_timer_(io_),
      parting_timer_(io_),
      listener_(*this) {
  await_devices();
}

Shard::~Shard() = default;

// --- life

void Shard::start() {
  work_.emplace(io_.get_executor());
  arm_tick();
  thread_ = std::thread([this] {
    thread_id_ = std::this_thread::get_id();
    pthread_setname_np(pthread_self(), ("shard-" + std::to_string(index_)).c_str());
    let_work_gather();
    run();
  });
}

void Shard::run() {
  const TlsMemoryKeeper tls_memory;
  for (;;) {
    try {
      io_.run();
      return;
    } catch (const std::exception& e) {
      // What sessions throw ends that session (with_session); this is for what a
      // shard does besides.
      probe_.handler_exceptions.add();
      env_.log.error("shard_handler_failed", {{"shard", index_}, {"error", std::string_view(e.what())}});
    }
  }
}

void Shard::stop() {
  if (!thread_.joinable()) return;
  post([this] {
    stopping_ = true;
    listener_.close();
    tick_timer_.cancel();
    ack_timer_.cancel();
    claim_timer_.cancel();
    drain_timer_.cancel();
    credit_timer_.cancel();
    parting_timer_.cancel();
    for (Slot& slot : slots_) {
      if (slot.session) slot.session->abort();
      slot.session.reset();
    }
    poll_.close();
    work_.reset();
    // What this says still goes into the log, which outlives the shards; what that does not
    // take is left to the peers, or to the next process of this node.
    ownership_.hold_no_more();
  });
  thread_.join();
  stopped_.store(true, std::memory_order_release);
}

void Shard::assert_current() const noexcept {
  // Stays on in release: a call from the wrong thread is a data race, and a
  // process that stops is better than one that lies.
  if (thread_id_ != std::thread::id() && thread_id_ != std::this_thread::get_id()) std::abort();
}

std::uint32_t Shard::now_ms() const noexcept {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<milliseconds>(env_.clock.now() - started_).count());
}

std::uint32_t Shard::stamp_arrival() noexcept {
  arrived_unix_ms_ = env_.clock.unix_ms();
  return now_ms();
}

void Shard::arm_tick() {
  if (stopping_) return;
  tick_timer_.expires_after(std::chrono::seconds(1));
  tick_timer_.async_wait([this](error_code ec) {
    if (ec) return;
    tick();
    arm_tick();
  });
}

void Shard::tick() {
  assert_current();
  probe_.loop_turns.add();
  const std::uint32_t now = now_ms();
  const auto seconds_now =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(env_.clock.now() - started_).count());
  wheel_.advance(seconds_now, [&](TimerNode& node) {
    with_session(static_cast<DeviceSession&>(node).ref(), [now](DeviceSession& session) { session.deadline(now); });
  });
  part_some();
  if (++ticks_ % k_seen_every_ticks == 0) send_seen(0);
  if (!ingress_.empty()) schedule_flush();
  if (ends_untold_ > 0 && !telling_ends_) tell_ends();
  ownership_.say_overdue(env_.clock.now());
}

void Shard::file_deadline(DeviceSession& session, std::uint32_t due_ms) {
  const auto ahead = static_cast<std::int32_t>(due_ms - now_ms());
  const std::uint32_t ticks = ahead <= 0 ? 1 : (static_cast<std::uint32_t>(ahead) + 999) / 1'000;
  wheel_.file(session, wheel_.now() + ticks);
}

// --- sessions

void Shard::adopt(int fd, const boost::asio::ip::tcp::endpoint& peer) {
  assert_current();
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[index];
  const SessionRef ref{index, ++slot.generation};
  while (!newcomers_.empty() && !is_newcomer(newcomers_.front())) newcomers_.pop_front();
  newcomers_.push_back(ref);
  slot.session = std::make_unique<DeviceSession>(*this, ref, DeviceSocket(fd), peer);
  with_session(ref, [](DeviceSession& session) { session.start(); });
}

bool Shard::is_newcomer(SessionRef ref) noexcept {
  const DeviceSession* session = find(ref);
  return session != nullptr && session->arriving();
}

bool Shard::displace_staller() {
  assert_current();
  if (newcomers_.size() > 2 * static_cast<std::size_t>(probe_.handshakes.get()) + 16) {
    std::erase_if(newcomers_, [this](SessionRef ref) { return !is_newcomer(ref); });
  }
  const std::uint32_t now = now_ms();
  const auto stalls = [&](SessionRef ref) {
    const DeviceSession* session = find(ref);
    return session != nullptr && session->stalls(now);
  };
  const auto staller = std::ranges::find_if(newcomers_, stalls);
  if (staller == newcomers_.end()) return false;
  with_session(*staller, [](DeviceSession& session) { session.give_way(); });
  return true;
}

void Shard::await_devices() {
  poll_.wait([this](error_code ec) {
    if (!ec) serve_devices();
  });
}

// One turn: every device that is ready, then what they sent, together, into the log.
void Shard::serve_devices() {
  struct Turn {
    Shard& shard;
    ~Turn() {  // also when the log's submit() throws
      shard.flush_scheduled_ = false;
      if (!shard.stopping_) shard.await_devices();
    }
  };
  const Turn turn{*this};
  flush_scheduled_ = true;
  std::size_t newcomers = 0;
  for (const epoll_event& event : poll_.take()) {
    const DevicePoll::Ready ready = DevicePoll::ready(event);
    if (ready.hung_up && part_later(ready.session)) continue;
    // A step of a handshake costs as much as tens of frames, which are not to wait for many of them. The others are
    // ready still, in a later turn.
    if (is_newcomer(ready.session) && ++newcomers > k_newcomers_per_turn) continue;
    with_session(ready.session, [&ready](DeviceSession& session) {
      if (ready.writable) session.writable();
      if (ready.readable && !session.gone()) session.readable();
    });
  }
  flush();
}

// To end a session costs as much as some frames, and a broken uplink ends all that were
// behind it at one moment: those that stay, and the lanes, are not to wait for that. So
// what has hung up is seen to some at a time, in the order of hanging up.
bool Shard::may_part() {
  const Monotonic now = env_.clock.now();
  if (now - parting_since_ >= k_parting_step) {
    parting_since_ = now;
    partings_left_ = k_partings_max;
  }
  if (partings_left_ == 0) return false;
  --partings_left_;
  return true;
}

// False: it can be seen to now.
bool Shard::part_later(SessionRef ref) {
  DeviceSession* session = find(ref);
  if (session == nullptr || !session->open() || (parting_.empty() && may_part())) return false;
  if (!session->pause()) return false;
  parting_.push_back(ref);
  arm_parting_timer();
  return true;
}

void Shard::part_some() {
  for (; !parting_.empty() && may_part(); parting_.pop_front()) {
    with_session(parting_.front(), [](DeviceSession& session) { session.resume(); });
  }
  if (!parting_.empty()) arm_parting_timer();
}

void Shard::arm_parting_timer() {
  if (parting_timer_armed_ || stopping_) return;
  parting_timer_armed_ = true;
  parting_timer_.expires_after(k_parting_step);
  parting_timer_.async_wait([this](error_code ec) {
    parting_timer_armed_ = false;
    if (!ec) part_some();
  });
}

DeviceSession* Shard::find(SessionRef ref) noexcept {
  if (ref.slot >= slots_.size() || slots_[ref.slot].generation != ref.generation) return nullptr;
  return slots_[ref.slot].session.get();
}

void Shard::settle(SessionRef ref) {
  DeviceSession* session = find(ref);
  if (session == nullptr) return;
  session->flush();
  if (!session->gone()) return;
  slots_[ref.slot].session.reset();
  free_slots_.push_back(ref.slot);
}

void Shard::handler_failed(SessionRef ref, const char* what) noexcept {
  probe_.handler_exceptions.add();
  env_.log.error("session_handler_failed", {{"error", std::string_view(what)}});
  try {
    if (DeviceSession* session = find(ref)) session->end(EndReason::internal);
  } catch (...) {
    if (DeviceSession* session = find(ref)) session->abort();
  }
}

void Shard::set_config(SessionConfigPtr config) {
  assert_current();
  config_ = std::move(config);
}

void Shard::recheck_credentials(bool certificates) {
  sweep(0, [certificates](DeviceSession& session) { session.recheck_credential(certificates); });
}

// --- drain

void Shard::drain(milliseconds period) {
  assert_current();
  listener_.close();
  // Nobody would let in who is sent away.
  if (!config_->peers) ownership_.hold_no_more();
  drain_began_ = env_.clock.now();
  drain_period_ = period;
  drain_all_ = static_cast<std::size_t>(std::max<std::int64_t>(0, probe_.connections.get()));
  drain_sent_ = 0;
  drain_slot_ = 0;
  drain_step();
}

void Shard::drain_step() {
  if (stopping_) return;
  // What is due by the end of this step; who has left by itself meanwhile shortens the drain.
  const auto elapsed = std::chrono::duration_cast<milliseconds>(env_.clock.now() - drain_began_) + k_drain_step;
  const bool last = elapsed >= drain_period_;
  const std::size_t due = last ? slots_.size()
                               : (drain_all_ * static_cast<std::size_t>(elapsed.count()) +
                                  static_cast<std::size_t>(drain_period_.count()) - 1) /
                                     static_cast<std::size_t>(drain_period_.count());
  for (; drain_sent_ < due && drain_slot_ < slots_.size(); ++drain_slot_) {
    DeviceSession* session = slots_[drain_slot_].session.get();
    if (session == nullptr || !session->open()) continue;
    ++drain_sent_;
    with_session(session->ref(), [](DeviceSession& s) {
      s.dismiss(GoodbyeReason::drain, DeviceSession::k_move_reconnect_ms, EndReason::drain);
    });
  }
  if (last) return;
  drain_timer_.expires_after(k_drain_step);
  drain_timer_.async_wait([this](error_code ec) {
    if (!ec) drain_step();
  });
}

}  // namespace fieldgate::net
