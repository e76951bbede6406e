// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"
#include "tests/sim/north.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

struct mosquitto;
struct mosquitto_message;
struct mqtt5__property;

namespace fieldgate::sim {

struct BrokerSettings {
  std::string host = "127.0.0.1";
  std::uint16_t port = 1883;
  std::string username;
  std::string password;
  std::string ca_file;  // set: TLS
  std::string client_id;
  std::string prefix = "fieldgate/v1";
};

// "mqtt://HOST[:PORT]", "mqtts://HOST[:PORT]" or "HOST[:PORT]"; true in `tls` for mqtts.
Outcome<BrokerSettings> parse_broker(const std::string& url, bool& tls);

// The verifying subscriber: MQTT v5, QoS 1, a persistent session, on everything
// that the gateway publishes for devices' data. It survives the broker's absence.
// Thread: one at a time; records() any.
class MqttSubscriber {
 public:
  explicit MqttSubscriber(BrokerSettings settings);
  ~MqttSubscriber();
  MqttSubscriber(const MqttSubscriber&) = delete;
  MqttSubscriber& operator=(const MqttSubscriber&) = delete;

  // Connects and waits until every subscription is acknowledged.
  Outcome<void> start(std::int64_t patience_us);
  // Handles what has arrived; waits at most `wait_ms` for it.
  void poll(int wait_ms);
  // Ends the session at the broker too.
  void finish();

  const NorthReader& reader() const noexcept { return reader_; }
  std::uint64_t records() const noexcept { return records_.load(std::memory_order_relaxed); }
  std::uint64_t reconnects() const noexcept { return reconnects_; }
  // The broker came back without our session: what it held for us is gone.
  std::uint64_t sessions_lost() const noexcept { return sessions_lost_; }

 private:
  void on_connected(int reason, int flags);
  void on_message(const mosquitto_message& message, const mqtt5__property* properties);
  bool readable() const;

  BrokerSettings settings_;
  NorthReader reader_;
  std::atomic<std::uint64_t> records_{0};
  mosquitto* client_ = nullptr;
  bool connected_ = false;
  bool ever_connected_ = false;
  std::string refused_;
  unsigned subscriptions_pending_ = 0;
  std::uint64_t reconnects_ = 0;
  std::uint64_t sessions_lost_ = 0;
  std::int64_t retry_us_ = 0;
  std::int64_t misc_us_ = 0;
};

}  // namespace fieldgate::sim
