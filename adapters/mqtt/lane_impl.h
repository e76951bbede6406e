// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/client.h"
#include "adapters/mqtt/command_gate.h"
#include "adapters/mqtt/echo_watch.h"
#include "adapters/mqtt/forwarder.h"
#include "adapters/mqtt/in_flight.h"
#include "adapters/mqtt/mqtt_lane.h"
#include "adapters/mqtt/peer_post.h"
#include "adapters/mqtt/presence_book.h"
#include "adapters/northbound/backoff.h"
#include "gateway/core/mutex.h"

#include <atomic>
#include <map>
#include <thread>
#include <unordered_map>

namespace fieldgate::mqtt {

// What it means to hear nothing from a topic.
inline constexpr std::string_view k_uncorrected = "what is wrong in the retained presence is not corrected";
inline constexpr std::string_view k_unreachable =
    "other nodes do not reach this one: commands to devices here come late, and live data of them is not to be had "
    "there";

// mqtt_lane.cc has its life: start, status, reconnecting, stop. lane_traffic.cc
// has what passes over a connection, lane_commands.cc what concerns commands and other
// nodes.
class LaneImpl final : public MqttLane, private Client::Events {
 public:
  LaneImpl(MqttLaneSettings settings, NodeIdentity node, Topics topics, Routes routes, const Clock& clock, Log& log,
           MqttLaneProbe& probe, DeadLetterStore& dead_letters, Commands* commands, PeerProbe* inbox);
  ~LaneImpl() override;

  const std::string& name() const noexcept override { return settings_.name; }
  bool required() const noexcept override { return settings_.required; }
  void start(LaneFeed& feed) override;
  void notify() noexcept override;
  void hold(bool held) noexcept override;
  LaneStatus status() const override;
  void stop(std::chrono::milliseconds patience) override;
  void publish(const DeviceId& device, const PresenceState& state) override;
  void command_changed(const std::shared_ptr<const CommandEntry>& command) override;
  Peers* peers() noexcept override { return peers_.get(); }

 private:
  // Client::Events
  void connected(const Connack& connack) override;
  void acknowledged(int packet_id, std::uint8_t reason) override;
  void received(const Incoming& message) override;
  void subscribed(int packet_id, const std::vector<std::uint8_t>& reasons) override;
  void settled() override;
  void disconnected(std::string why) override;

  void connect();
  void give_up(const std::string& why);
  void set_state(LaneState state, const std::string& error = {});

  void wake() noexcept;  // any thread: there is something else than records
  void pump();
  bool send(Message message);
  void look();
  void rest();
  void take_inbox();
  void presence_refused(std::uint8_t reason, const std::string& topic);
  void send_node_state(bool online, std::string_view reason);
  void node_state_seen(const Incoming& message);
  void check_node_state_kept();
  void check_node_state_later();
  void watch_echo(EchoWatch::From from);
  void echoes_later();
  void tell_silent(EchoWatch::From from);

  void command_received(const Incoming& message);
  void refuse(RequestRefused refused, const std::string& topic);
  void reply(Message message);
  void reply_acknowledged(std::uint8_t reason, const Message& message);

  void inbox_subscribed(std::uint8_t reason);
  void send_to_own_inbox();
  void peer_refused(std::uint8_t reason, const std::string& topic);
  void subscription_refused(std::uint8_t reason, const std::string& filter, std::string_view effect);
  void peers_later();

  void begin_stop(Monotonic deadline, std::chrono::milliseconds patience);
  void proceed_stop(bool out_of_time);
  void finish();

  const MqttLaneSettings settings_;
  const NodeIdentity node_;
  const Topics topics_;
  const Clock& clock_;
  Log& log_;
  MqttLaneProbe& probe_;
  Commands* const commands_;
  const std::optional<CommandGate> gate_;  // where commands are taken
  std::unique_ptr<PeerPost> peers_;        // where messages between nodes are carried

  // Any thread.
  std::atomic<bool> notified_{false};  // the lane will look into the log without being told
  std::atomic<bool> woken_{false};     // a wake() is on its way
  mutable Mutex status_mutex_;
  LaneStatus status_ GUARDED_BY(status_mutex_);
  Mutex inbox_mutex_;
  std::unordered_map<DeviceId, PresenceState> inbox_ GUARDED_BY(inbox_mutex_);

  // The lane's thread.
  boost::asio::io_context io_{1};
  Forwarder forwarder_;
  PresenceBook book_;
  InFlight in_flight_;
  ReplyQueue replies_;
  std::size_t asked_ = 0;  // requests that the ledger has not answered
  // What SUBACKs are awaited for, by packet id.
  enum class Subscription : std::uint8_t { presence, commands, inbox };
  std::map<int, Subscription> subscribing_;
  EchoWatch echoes_;
  Backoff backoff_;
  boost::asio::steady_timer retry_timer_;     // when to connect again
  boost::asio::steady_timer wake_timer_;      // when to look into the log
  boost::asio::steady_timer presence_timer_;  // when to try refused presence again
  boost::asio::steady_timer node_timer_;      // when our node's retained state should have been seen
  boost::asio::steady_timer echo_timer_;      // when what we published should have come back
  boost::asio::steady_timer stop_timer_;
  boost::asio::steady_timer peer_timer_;  // when a question to another node has waited long enough
  std::optional<Monotonic> wake_armed_;
  LogPosition rested_at_;  // how far the log had been read then
  std::optional<Monotonic> peer_armed_;
  Client client_;
  std::size_t window_ = 1;
  std::size_t presence_window_ = 1;
  Monotonic connected_at_;
  std::int64_t connected_unix_ms_ = 0;
  std::uint64_t connections_ = 0;
  std::string pause_error_;  // the refusal that paused the lane last
  bool retain_available_ = true;
  bool node_state_kept_ = false;     // the broker still had it when we subscribed
  bool node_state_refused_ = false;  // in this connection: nothing can come back of it
  enum class Stop : std::uint8_t { no, draining, farewell } stop_ = Stop::no;

  std::thread thread_;
};

}  // namespace fieldgate::mqtt
