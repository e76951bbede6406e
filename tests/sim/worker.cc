// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/worker.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <map>
#include <utility>

namespace fieldgate::sim {
namespace {

constexpr std::int64_t k_publish_us = k_second_us / 4;
constexpr std::uint64_t k_wake_token = ~std::uint64_t{0};

}  // namespace

void Snapshot::merge(const Snapshot& other) {
  stats.merge(other.stats);
  devices += other.devices;
  online += other.online;
  unacked += other.unacked;
  welcomed_ever += other.welcomed_ever;
  unfinished += other.unfinished;
  order = std::min(order, other.order);
}

Worker::Worker(const GatewayAddress& gateway, const DeviceSettings& devices, const WorkerSettings& settings,
               std::unique_ptr<TlsClient> tls, std::uint64_t seed)
    : settings_(settings), tls_(std::move(tls)), io_(gateway, devices, seed) {
  io_.tls = tls_.get();
  io_.epoll = ::epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = k_wake_token;
  ::epoll_ctl(io_.epoll, EPOLL_CTL_ADD, wake_fd_, &event);
}

Worker::~Worker() {
  connections_.clear();
  ::close(wake_fd_);
  ::close(io_.epoll);
}

void Worker::order(Order order) noexcept {
  wanted_.store(order, std::memory_order_release);
  const std::uint64_t one = 1;
  // A full counter wakes as well, so the result says nothing.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

Snapshot Worker::snapshot() const {
  const MutexLock lock(mutex_);
  return snapshot_;
}

void Worker::run() {
  start_devices();
  while (unfinished_ > 0) {
    handle_events(timeout_ms());
    follow_orders();
    wake_due();
    admit_queued();
    if (io_.now.mono_us - published_us_ >= k_publish_us) publish();
  }
  publish();
}

void Worker::start_devices() {
  io_.now = read_clocks();
  const std::int64_t epoch_us = io_.now.mono_us;
  connections_.reserve(settings_.count);
  armed_.assign(settings_.count, k_never_us);
  for (std::uint32_t slot = 0; slot < settings_.count; ++slot) {
    connections_.push_back(std::make_unique<Connection>(io_, settings_.first + slot));
    const double after = settings_.connects_per_second <= 0 ? 0 : slot / settings_.connects_per_second;
    connections_.back()->device().start(epoch_us + static_cast<std::int64_t>(after * 1e6), epoch_us);
    arm(slot);
  }
  unfinished_ = settings_.count;
  publish();
}

int Worker::timeout_ms() const noexcept {
  std::int64_t next = published_us_ + k_publish_us;
  if (!due_.empty()) next = std::min(next, due_.top().at_us);
  if (order_ == Order::finish && finish_next_ < connections_.size()) next = std::min(next, io_.now.mono_us + 10'000);
  const std::int64_t wait_us = next - read_clocks().mono_us;
  return wait_us <= 0 ? 0 : static_cast<int>((wait_us + 999) / 1000);
}

void Worker::handle_events(int timeout) {
  std::array<epoll_event, 512> events;
  const int count = ::epoll_wait(io_.epoll, events.data(), static_cast<int>(events.size()), timeout);
  io_.now = read_clocks();
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    if (event.data.u64 == k_wake_token) {
      std::uint64_t drained = 0;
      [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &drained, sizeof drained);
      continue;
    }
    const auto slot = static_cast<std::uint32_t>(event.data.u64) - settings_.first;
    Connection& connection = *connections_[slot];
    if (connection.generation() != static_cast<std::uint32_t>(event.data.u64 >> 32)) continue;
    io_.now = read_clocks();
    const bool was_finished = connection.device().finished();
    connection.on_events(event.events);
    if (connection.device().finished() && !was_finished) --unfinished_;
    arm(slot);
  }
}

void Worker::wake_due() {
  io_.now = read_clocks();
  // What falls due meanwhile has its turn after the events.
  const std::int64_t until = io_.now.mono_us;
  while (!due_.empty() && due_.top().at_us <= until) {
    const Due due = due_.top();
    due_.pop();
    if (armed_[due.slot] != due.at_us) continue;
    armed_[due.slot] = k_never_us;
    Connection& connection = *connections_[due.slot];
    if (connection.next_wake_us() <= io_.now.mono_us) {
      io_.now = read_clocks();
      const bool was_finished = connection.device().finished();
      connection.wake();
      if (connection.device().finished() && !was_finished) --unfinished_;
    }
    arm(due.slot);
  }
}

void Worker::admit_queued() {
  DeviceContext& devices = io_.devices;
  while (!devices.queue.empty() && devices.connecting < devices.settings.connecting_max) {
    const std::uint32_t slot = devices.queue.front() - settings_.first;
    devices.queue.pop_front();
    if (connections_[slot]->admit()) arm(slot);
  }
}

// An entry that comes too early is harmless: it files itself again.
void Worker::arm(std::uint32_t slot) {
  const std::int64_t at = std::max(connections_[slot]->next_wake_us(), io_.now.mono_us + 1);
  if (at >= armed_[slot]) return;
  armed_[slot] = at;
  due_.push({at, slot});
}

void Worker::follow_orders() {
  const Order wanted = wanted_.load(std::memory_order_acquire);
  if (wanted != order_) {
    order_ = wanted;
    finish_from_us_ = io_.now.mono_us;
    for (auto& connection : connections_) connection->device().stop_making();
    publish();
  }
  const auto end = [this](auto member, std::uint32_t slot) {
    Connection& connection = *connections_[slot];
    const bool was_finished = connection.device().finished();
    (connection.*member)();
    if (connection.device().finished() && !was_finished) --unfinished_;
    arm(slot);
  };
  if (order_ == Order::finish) {
    const double elapsed = static_cast<double>(io_.now.mono_us - finish_from_us_) / 1e6;
    const auto allowed = static_cast<std::uint64_t>(1 + elapsed * settings_.closes_per_second);
    for (; finish_next_ < connections_.size() && finish_next_ < allowed; ++finish_next_) {
      end(&Connection::finish, finish_next_);
    }
  } else if (order_ == Order::quit) {
    for (std::uint32_t slot = 0; slot < connections_.size(); ++slot) end(&Connection::abandon, slot);
  }
}

void Worker::publish() {
  published_us_ = io_.now.mono_us;
  Snapshot now;
  now.stats = io_.devices.stats;
  now.devices = connections_.size();
  now.unfinished = unfinished_;
  now.order = order_;
  for (const auto& connection : connections_) {
    const Device& device = connection->device();
    now.online += device.online() ? 1 : 0;
    now.unacked += device.unacked();
    now.welcomed_ever += device.ever_welcomed() ? 1 : 0;
  }
  const MutexLock lock(mutex_);
  std::swap(snapshot_, now);
}

Ledger Worker::ledger() const {
  Ledger ledger;
  ledger.devices = connections_.size();
  ledger.frames_sent = io_.devices.stats.frames_sent;
  ledger.frames_acked = io_.devices.stats.frames_acked;
  ledger.streams = io_.devices.closed_streams;
  for (const auto& connection : connections_) ledger.streams.push_back(connection->device().ledger_entry());
  std::map<std::uint64_t, std::vector<std::uint64_t>> rejected;  // by stream: they are random numbers
  for (const auto& frame : io_.devices.rejected) rejected[frame.stream].push_back(frame.seq);
  for (StreamEntry& entry : ledger.streams) {
    const auto found = rejected.find(entry.stream);
    if (found == rejected.end()) continue;
    entry.rejected = found->second;
    std::ranges::sort(entry.rejected);
    const auto [first, last] = std::ranges::unique(entry.rejected);
    entry.rejected.erase(first, last);
  }
  return ledger;
}

}  // namespace fieldgate::sim
