// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/lane_impl.h"
#include "adapters/mqtt/reasons.h"

#include <algorithm>
#include <array>
#include <utility>

namespace fieldgate::mqtt {
namespace {

// PUBLISH without its payload and topic: fixed header, packet id, properties.
constexpr std::size_t k_publish_overhead = 256;
// How long a broker may take, after SUBACK, to send what is retained.
constexpr std::chrono::seconds k_retained_patience{3};
// Between two looks into the log while a batch waits for more, and more comes.
constexpr std::chrono::milliseconds k_rest_max{5};

std::uint64_t microseconds_since(Monotonic then, Monotonic now) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now - then).count());
}

}  // namespace

void LaneImpl::connected(const Connack& connack) {
  connected_at_ = clock_.now();
  ++connections_;
  probe_.connects.add();
  window_ = std::clamp<std::size_t>(connack.receive_max, 1, settings_.window_max);
  presence_window_ = std::max<std::size_t>(window_ / 4, 1);
  retain_available_ = connack.retain_available;
  const std::size_t overhead = topics_.batch(settings_.partitions).size() + k_publish_overhead;
  const std::size_t room = connack.packet_bytes_max > overhead ? connack.packet_bytes_max - overhead : 1;
  forwarder_.connected(window_, std::min<std::size_t>(settings_.batch_bytes_max, room));
  set_state(forwarder_.paused() ? LaneState::paused : LaneState::running);
  log_.info("mqtt_connected", {{"lane", settings_.name},
                               {"broker", settings_.host + ":" + std::to_string(settings_.port)},
                               {"session_present", connack.session_present},
                               {"window", window_},
                               {"packet_bytes_max", connack.packet_bytes_max}});
  echoes_.begin();
  if (gate_) subscribing_[client_.subscribe({gate_->subscription()})] = Subscription::commands;
  if (peers_) subscribing_[client_.subscribe({topics_.inbox(node_.node)})] = Subscription::inbox;
  if (!retain_available_) {
    log_.warn("mqtt_retain_unavailable",
              {{"lane", settings_.name}, {"effect", "no retained presence, no node status"}});
    return;
  }
  // Before our own state is published: so what is retained now is what the
  // broker has kept of us.
  node_state_kept_ = false;
  node_state_refused_ = false;
  if (settings_.presence_retained) {
    subscribing_[client_.subscribe({topics_.node(), topics_.presence_filter()})] = Subscription::presence;
  }
  send_node_state(true, {});
}

void LaneImpl::send_node_state(bool online, std::string_view reason) {
  if (!retain_available_) return;
  const std::int64_t since = online ? connected_unix_ms_ : clock_.unix_ms();
  Message message;
  message.kind = MessageKind::node;
  message.format = PayloadFormat::json;
  message.retain = true;
  message.topic = topics_.node();
  message.payload = write_node_state(
      {online, node_.node, node_.boot_id, since, online ? node_.version : std::string(), std::string(reason)});
  send(std::move(message));
}

// False: the connection is over; the message waits in in_flight_ to be drained.
bool LaneImpl::send(Message message) {
  const auto published = client_.publish(message);
  if (published.outcome == Link::Published::Outcome::too_large) {
    if (message.kind == MessageKind::records) {
      forwarder_.refused(std::move(message), k_packet_too_large, clock_.now());
    } else if (message.kind == MessageKind::reply) {
      reply_acknowledged(k_packet_too_large, message);
    } else if (message.kind == MessageKind::peer) {
      peers_->refused(PeerDrop::too_large);
    } else if (message.device) {
      book_.done(*message.device, true);  // it never will be taken: do not try again
    }
    return true;
  }
  const bool sent = published.outcome == Link::Published::Outcome::sent;
  if (sent) {
    probe_.publishes.add();
    probe_.publish_bytes.add(message.payload.size());
    if (message.kind == MessageKind::presence) probe_.presence_publishes.add();
  }
  in_flight_.add(published.packet_id, std::move(message), clock_.now());
  return sent;
}

void LaneImpl::pump() {
  if (!client_.up()) return;
  bool alive = true;
  while (alive && in_flight_.size() < window_) {
    bool any = false;
    if (retain_available_ && in_flight_.count(MessageKind::presence) < presence_window_) {
      if (auto update = book_.next()) {
        Message message;
        message.kind = MessageKind::presence;
        message.format = PayloadFormat::json;
        message.retain = true;
        message.topic = topics_.presence(update->device);
        message.payload = std::move(update->payload);
        message.device = std::move(update->device);
        alive = send(std::move(message));
        any = true;
      }
    }
    if (alive && in_flight_.count(MessageKind::reply) < presence_window_ && in_flight_.size() < window_) {
      if (auto message = replies_.take()) {
        alive = send(*std::move(message));
        any = true;
      }
    }
    if (alive && peers_ && in_flight_.count(MessageKind::peer) < presence_window_ && in_flight_.size() < window_) {
      if (auto message = peers_->take()) {
        alive = send(*std::move(message));
        any = true;
      }
    }
    if (alive && in_flight_.size() < window_) {
      if (auto message = forwarder_.take(clock_.now())) {
        alive = send(*std::move(message));
        any = true;
      }
    }
    if (!any) break;
  }
  probe_.in_flight.store(static_cast<std::int64_t>(in_flight_.size()), std::memory_order_relaxed);
  forwarder_.report();
  client_.flush();
  if (!client_.up()) return;
  rest();
  if (stop_ != Stop::no) proceed_stop(false);
}

// What the log has now, and hears of from here on.
void LaneImpl::look() {
  notified_.store(false, std::memory_order_release);
  pump();
}

// With a full window there is nothing to wake up for: the next acknowledgement does. While a batch waits for more,
// what comes need not wake the lane either: it rests, and looks when the batch is due. One that waits for long may be
// full before, so that as long as something comes it looks now and then.
void LaneImpl::rest() {
  if (in_flight_.size() >= window_) return;
  auto at = forwarder_.wake_at();
  if (!at) return;
  const bool more_came = std::exchange(rested_at_, forwarder_.next()) != forwarder_.next();
  if (more_came && !forwarder_.paused()) {
    at = std::min(*at, clock_.now() + k_rest_max);
    notified_.store(true, std::memory_order_release);
  }
  if (wake_armed_ && *wake_armed_ <= *at) return;
  wake_armed_ = at;
  wake_timer_.expires_at(*at);
  wake_timer_.async_wait([this](error_code error) {
    if (error) return;  // armed anew, or stopping
    wake_armed_.reset();
    look();
  });
}

void LaneImpl::take_inbox() {
  std::unordered_map<DeviceId, PresenceState> inbox;
  {
    const MutexLock lock(inbox_mutex_);
    inbox.swap(inbox_);
  }
  for (const auto& [device, state] : inbox) book_.apply(device, state);
}

void LaneImpl::acknowledged(int packet_id, std::uint8_t reason) {
  auto taken = in_flight_.take(packet_id);
  if (!taken) return;  // a broker's error, which must not become ours
  probe_.pubacks.add();
  const Monotonic now = clock_.now();
  probe_.puback_time.observe(microseconds_since(taken->sent, now));
  Message& message = taken->message;
  const bool accepted = reason < 0x80;
  switch (message.kind) {
    case MessageKind::records:
      if (accepted) {
        forwarder_.acknowledged(std::move(message));
        if (!forwarder_.paused()) set_state(LaneState::running);
      } else {
        const auto error = forwarder_.refused(std::move(message), reason, now);
        if (error.empty()) break;
        pause_error_ = error;
        set_state(LaneState::paused, error);
      }
      break;
    case MessageKind::presence:
      book_.done(*message.device, accepted);
      if (!accepted) presence_refused(reason, message.topic);
      if (accepted) watch_echo(EchoWatch::From::presence);
      break;
    case MessageKind::reply: reply_acknowledged(reason, message); break;
    case MessageKind::peer:
      if (!accepted) peer_refused(reason, message.topic);
      if (accepted && message.payload.empty()) watch_echo(EchoWatch::From::inbox);
      break;
    case MessageKind::node:
      if (accepted) {
        watch_echo(EchoWatch::From::node);
        break;
      }
      node_state_refused_ = true;
      probe_.refusals[reason].add();
      log_.error(
          "mqtt_node_status_refused",
          {{"lane", settings_.name}, {"topic", std::string_view(message.topic)}, {"error", describe_refusal(reason)}});
      break;
  }
}

// Presence is a view, and no reason to hold the records back.
void LaneImpl::presence_refused(std::uint8_t reason, const std::string& topic) {
  probe_.refusals[reason].add();
  log_.error("mqtt_presence_refused", {{"lane", settings_.name},
                                       {"topic", std::string_view(topic)},
                                       {"error", describe_refusal(reason)},
                                       {"effect", "the broker shows an older state; tried again later"}});
  presence_timer_.expires_after(settings_.backoff_max);
  presence_timer_.async_wait([this](error_code error) {
    if (error) return;
    book_.retry_refused();
    pump();
  });
}

void LaneImpl::settled() { pump(); }

void LaneImpl::subscribed(int packet_id, const std::vector<std::uint8_t>& reasons) {
  const auto awaited = subscribing_.find(packet_id);
  if (awaited == subscribing_.end()) return;  // a broker's error, which must not become ours
  const Subscription what = awaited->second;
  subscribing_.erase(awaited);
  // What the broker does not answer for, it has not granted.
  const auto reason = [&reasons](std::size_t filter) -> std::uint8_t {
    return filter < reasons.size() ? reasons[filter] : k_unspecified_error;
  };
  if (what == Subscription::inbox) return inbox_subscribed(reason(0));
  if (what == Subscription::commands) {
    if (reason(0) < 0x80) return;
    return subscription_refused(reason(0), gate_->subscription(), "no commands come from here");
  }
  using From = EchoWatch::From;
  const std::array filters = {std::pair(topics_.node(), From::node),
                              std::pair(topics_.presence_filter(), From::presence)};
  bool refused = false;
  for (std::size_t i = 0; i < filters.size(); ++i) {
    const auto& [filter, from] = filters[i];
    if (reason(i) < 0x80) {
      echoes_.subscribed(from);
    } else {
      subscription_refused(reason(i), filter, k_uncorrected);
      refused = true;
    }
  }
  echoes_later();
  if (refused) return;
  if (connections_ == 1) return;  // nothing of this process can have been lost
  check_node_state_later();
}

void LaneImpl::check_node_state_later() {
  node_timer_.expires_after(k_retained_patience);
  node_timer_.async_wait([this](error_code error) {
    if (!error) check_node_state_kept();
  });
}

void LaneImpl::subscription_refused(std::uint8_t reason, const std::string& filter, std::string_view effect) {
  log_.error("mqtt_subscribe_refused", {{"lane", settings_.name},
                                        {"topic", std::string_view(filter)},
                                        {"error", describe_refusal(reason)},
                                        {"effect", effect},
                                        {"hint", "let this client read there; the next connection tries again"}});
}

void LaneImpl::check_node_state_kept() {
  if (node_state_kept_ || !client_.up()) return;
  if (!echoes_.has_heard(EchoWatch::From::node)) {
    // Of a topic that brings not even what we say now, nobody knows what it has kept: then
    // presence is said anew in case.
    if (!node_state_refused_ && !echoes_.is_silent(EchoWatch::From::node)) return check_node_state_later();
  } else {
    log_.warn("mqtt_broker_forgot_us", {{"lane", settings_.name}, {"presence_to_republish", book_.size()}});
  }
  book_.republish_all();
  pump();
}

// --- what has to come back

// The broker has taken what we are to hear ourselves.
void LaneImpl::watch_echo(EchoWatch::From from) {
  echoes_.published(from, clock_.now());
  echoes_later();
}

void LaneImpl::echoes_later() {
  const auto due = echoes_.due();
  if (!due) return;
  echo_timer_.expires_at(*due);
  echo_timer_.async_wait([this](error_code error) {
    if (error) return;  // armed anew, or the connection is over
    for (const EchoWatch::From from : echoes_.take_silent(clock_.now())) tell_silent(from);
    echoes_later();
  });
}

void LaneImpl::tell_silent(EchoWatch::From from) {
  const bool inbox = from == EchoWatch::From::inbox;
  std::string topic = topics_.node();
  if (inbox) topic = topics_.inbox(node_.node);
  if (from == EchoWatch::From::presence) topic = topics_.presence_filter();
  log_.error("mqtt_subscription_silent",
             {{"lane", settings_.name},
              {"topic", std::string_view(topic)},
              {"error", "the broker has taken the subscription, and brings nothing of what is published there"},
              {"effect", inbox ? k_unreachable : k_uncorrected},
              {"hint", "let this client read there, in the broker's ACL"}});
}

void LaneImpl::received(const Incoming& message) {
  echoes_.stirred(clock_.now());
  if (message.topic == topics_.node()) {
    echoes_.heard(EchoWatch::From::node);
    return node_state_seen(message);
  }
  if (peers_ && message.topic == topics_.inbox(node_.node)) {
    echoes_.heard(EchoWatch::From::inbox);
    if (message.payload.empty()) return;  // our own word to ourselves
    return peers_->received(message.payload, message.retained);
  }
  const auto device = topics_.parse_presence(message.topic);
  if (!device && gate_) return command_received(message);
  if (!device) return;  // not what we subscribed to
  echoes_.heard(EchoWatch::From::presence);
  book_.seen(*device, parse_presence(message.payload), message.retained, clock_.unix_ms());
}

void LaneImpl::node_state_seen(const Incoming& message) {
  const auto state = parse_node_state(message.payload);
  if (!state || state->node != node_.node) return;
  const bool ours = state->boot_id == node_.boot_id;
  const bool just_published = ours && state->online && state->since_unix_ms == connected_unix_ms_;
  if (message.retained && !just_published) node_state_kept_ = true;
  // A Will of an earlier connection, come late.
  if (!message.retained && ours && !state->online && stop_ == Stop::no) send_node_state(true, {});
}

}  // namespace fieldgate::mqtt
