// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/mqtt_lane.h"

#include "adapters/mqtt/lane_impl.h"
#include "gateway/ports/thread_scheduling.h"

#include <pthread.h>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <random>

namespace fieldgate::mqtt {
namespace {

constexpr std::size_t k_presence_devices_max = 200'000;
// A connection that lived this long was a good one: the next attempt after it
// starts with the shortest back-off.
constexpr std::chrono::seconds k_good_connection{5};
// What broken packets may cost the process for good; a broker that goes on with them wants that.
constexpr std::uint64_t k_lost_bytes_max = 64 << 20;
// A command's payload, its topic and properties; what the ledger takes may be less. A message
// from another node is smaller.
constexpr std::size_t k_request_bytes_max = 131'072;

std::uint64_t seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

Forwarder::Parts forwarder_parts(const MqttLaneSettings& settings, const NodeIdentity& node, Routes routes,
                                 const Topics& topics, const Clock& clock, Log& log, MqttLaneProbe& probe,
                                 DeadLetterStore& dead_letters) {
  BatchLimits limits{settings.partitions, settings.batch_bytes_max, settings.batch_records_max, settings.batch_linger,
                     node.node};
  return {std::move(routes),
          std::move(limits),
          Backoff(settings.backoff_min, settings.backoff_max, seed()),
          topics,
          clock,
          log,
          probe,
          dead_letters,
          settings.name};
}

}  // namespace

Result<std::unique_ptr<MqttLane>> make_mqtt_lane(MqttLaneSettings settings, NodeIdentity node, const Clock& clock,
                                                 Log& log, MqttLaneProbe& probe, DeadLetterStore& dead_letters,
                                                 Commands* commands, PeerProbe* inbox) {
  auto topics = Topics::make(settings.topic_prefix, node.node);
  if (!topics) return topics.error();
  if (!is_valid_name(node.boot_id)) return make_error(Errc::invalid_argument, "the boot id is not a valid name");
  auto routes = Routes::make(settings.routes);
  if (!routes) return routes.error();
  if (settings.client_id.empty()) settings.client_id = "fieldgate-" + node.node + "-" + settings.name;
  settings.window_max = std::clamp(settings.window_max, 1U, 65'535U);
  return std::unique_ptr<MqttLane>(std::make_unique<LaneImpl>(std::move(settings), std::move(node), *std::move(topics),
                                                              *std::move(routes), clock, log, probe, dead_letters,
                                                              commands, inbox));
}

LaneImpl::LaneImpl(MqttLaneSettings settings, NodeIdentity node, Topics topics, Routes routes, const Clock& clock,
                   Log& log, MqttLaneProbe& probe, DeadLetterStore& dead_letters, Commands* commands, PeerProbe* inbox)
    : settings_(std::move(settings)),
      node_(std::move(node)),
      topics_(std::move(topics)),
      clock_(clock),
      log_(log),
      probe_(probe),
      commands_(settings_.commands ? commands : nullptr),
      gate_(commands_ != nullptr ? std::optional<CommandGate>(std::in_place, settings_, topics_) : std::nullopt),
      forwarder_(forwarder_parts(settings_, node_, std::move(routes), topics_, clock_, log_, probe_, dead_letters)),
      book_(node_.node, node_.boot_id, k_presence_devices_max),
      backoff_(settings_.backoff_min, settings_.backoff_max, seed()),
      retry_timer_(io_),
      wake_timer_(io_),
      presence_timer_(io_),
      node_timer_(io_),
      echo_timer_(io_),
      stop_timer_(io_),
      peer_timer_(io_),
      client_(io_, clock_, *this) {
  if (inbox != nullptr) {
    peers_ = std::make_unique<PeerPost>(node_.node, node_.boot_id, topics_, clock_, *inbox, [this] { wake(); });
  }
  status_.name = settings_.name;
  status_.type = "mqtt";
  status_.destination = settings_.host + ":" + std::to_string(settings_.port);
  status_.required = settings_.required;
  status_.since_unix_ms = clock_.unix_ms();
}

LaneImpl::~LaneImpl() { stop(std::chrono::milliseconds(0)); }

void LaneImpl::start(LaneFeed& feed) {
  forwarder_.attach(feed);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "mqtt-lane");
    let_work_gather();
    const auto work = boost::asio::make_work_guard(io_);
    connect();
    io_.run();
  });
}

// From the log. A lane that rests looks by itself, in time for what it waits for.
void LaneImpl::notify() noexcept {
  if (!notified_.exchange(true, std::memory_order_acq_rel)) wake();
}

void LaneImpl::wake() noexcept {
  if (woken_.exchange(true, std::memory_order_acq_rel)) return;
  boost::asio::post(io_, [this] {
    woken_.store(false, std::memory_order_release);
    take_inbox();
    peers_later();
    look();
  });
}

void LaneImpl::hold(bool held) noexcept {
  // Under the lock, so that what is shown is what the lane's thread hears last.
  const MutexLock lock(status_mutex_);
  status_.held = held;
  boost::asio::post(io_, [this, held] {
    forwarder_.hold(held);
    pump();
  });
}

LaneStatus LaneImpl::status() const {
  const MutexLock lock(status_mutex_);
  return status_;
}

void LaneImpl::set_state(LaneState state, const std::string& error) {
  const MutexLock lock(status_mutex_);
  if (status_.state != state) {
    status_.state = state;
    status_.since_unix_ms = clock_.unix_ms();
  }
  if (!error.empty()) status_.last_error = error;
}

void LaneImpl::publish(const DeviceId& device, const PresenceState& state) {
  if (!settings_.presence_retained) return;
  {
    const MutexLock lock(inbox_mutex_);
    const auto it = inbox_.find(device);
    if (it != inbox_.end()) {
      if (supersedes(state, it->second.epoch, it->second.online)) it->second = state;
    } else if (inbox_.size() < k_presence_devices_max) {
      inbox_.emplace(device, state);
    }
  }
  wake();
}

void LaneImpl::connect() {
  set_state(LaneState::connecting);
  connected_unix_ms_ = clock_.unix_ms();
  ConnectPlan plan;
  plan.settings = settings_;
  if (gate_ || peers_) plan.incoming_bytes_max = k_request_bytes_max;
  plan.will_topic = topics_.node();
  // A Will is written when the connection begins: its time is that one.
  plan.will_payload = write_node_state({false, node_.node, node_.boot_id, connected_unix_ms_, {}, "connection_lost"});
  client_.connect(std::move(plan));
}

void LaneImpl::disconnected(std::string why) {
  const bool was_up = connected_at_ != Monotonic{};
  (was_up ? probe_.disconnects : probe_.connect_failures).add();
  if (was_up && clock_.now() - connected_at_ >= k_good_connection) backoff_.reset();
  connected_at_ = {};
  node_timer_.cancel();
  echo_timer_.cancel();
  // A broker may refuse a message and hang up over it: that is the news then.
  if (was_up && forwarder_.paused()) why = pause_error_ + "; then: " + why;

  std::vector<Message> records;
  std::vector<Message> replies;
  for (Message& message : in_flight_.drain()) {
    if (message.kind == MessageKind::records) {
      records.push_back(std::move(message));
    } else if (message.kind == MessageKind::reply) {
      replies.push_back(std::move(message));
    } else if (message.kind == MessageKind::peer && !message.payload.empty()) {
      peers_->put_back(std::move(message));
    }
  }
  for (; !replies.empty(); replies.pop_back()) replies_.push_front(std::move(replies.back()));
  subscribing_.clear();
  if (peers_) peers_->set_connected(false);
  forwarder_.disconnected(std::move(records));
  book_.lost_all();
  probe_.in_flight.store(0, std::memory_order_relaxed);

  if (client_.lost_bytes() > k_lost_bytes_max) return give_up(why);
  set_state(LaneState::backing_off, why);
  if (stop_ != Stop::no) return finish();
  const auto delay = backoff_.next();
  log_.warn("mqtt_disconnected",
            {{"lane", settings_.name}, {"error", std::string_view(why)}, {"retry_ms", delay.count()}});
  retry_timer_.expires_after(delay);
  retry_timer_.async_wait([this](error_code cancelled) {
    if (!cancelled && stop_ == Stop::no) connect();
  });
}

// For good: only the end of the process gives the memory back.
void LaneImpl::give_up(const std::string& why) {
  const std::string error = "given up until a restart: " + why + "; packets of that kind have cost " +
                            std::to_string(client_.lost_bytes() >> 20) +
                            " MiB of memory, which only a restart gives back: see what answers at this address";
  set_state(LaneState::stopped, error);
  if (stop_ != Stop::no) return finish();
  log_.error("mqtt_lane_given_up", {{"lane", settings_.name}, {"error", std::string_view(error)}});
}

void LaneImpl::stop(std::chrono::milliseconds patience) {
  if (thread_.joinable()) {
    const auto deadline = clock_.now() + patience;
    boost::asio::post(io_, [this, deadline, patience] { begin_stop(deadline, patience); });
    thread_.join();
  }
  set_state(LaneState::stopped);
}

// Three quarters of the time are for what can still be published, the rest for
// the farewell.
void LaneImpl::begin_stop(Monotonic deadline, std::chrono::milliseconds patience) {
  retry_timer_.cancel();
  if (!client_.up()) return finish();
  stop_ = Stop::draining;
  forwarder_.hurry();
  take_inbox();
  stop_timer_.expires_at(deadline - patience / 4);
  stop_timer_.async_wait([this, deadline](error_code error) {
    if (error) return;
    proceed_stop(true);
    if (stop_ != Stop::farewell) return;
    stop_timer_.expires_at(deadline);
    stop_timer_.async_wait([this](error_code second) {
      if (!second) finish();
    });
  });
  pump();
}

// Called after every pump, once the lane is to stop.
void LaneImpl::proceed_stop(bool out_of_time) {
  if (!client_.up()) return;
  if (stop_ == Stop::draining) {
    const bool presence_done = !retain_available_ || book_.has_refused() || book_.idle();
    // Held, what is on its way is all there is to wait for.
    const bool records_done = forwarder_.held() ? in_flight_.count(MessageKind::records) == 0 : forwarder_.idle();
    const bool done = forwarder_.paused() || (records_done && presence_done);
    if (!done && !out_of_time) return;
    stop_ = Stop::farewell;
    send_node_state(false, "stopped");
    client_.flush();
  } else if (in_flight_.count(MessageKind::node) == 0) {
    finish();
  }
}

void LaneImpl::finish() {
  if (client_.up()) client_.farewell();
  client_.close();
  stop_timer_.cancel();
  wake_timer_.cancel();
  presence_timer_.cancel();
  node_timer_.cancel();
  echo_timer_.cancel();
  peer_timer_.cancel();
  if (peers_) peers_->stop();
  io_.stop();
}

}  // namespace fieldgate::mqtt
